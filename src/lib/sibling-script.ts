/**
 * The address of a script beside a module, for starting a thread with it: TypeScript as the sources are, JavaScript as
 * they are published.
 * @param module the module's own `import.meta.url`
 * @param name the script's file name without its ending
 */
export function siblingScript(module: string, name: string): URL {
  return new URL(`./${name}.${module.endsWith('.ts') ? 'ts' : 'js'}`, module);
}
