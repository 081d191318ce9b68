import type { Command } from 'commander';
import { configurationMarkdown, jsonSchemaText } from '../../config/schema/json-schema.ts';

/** Adds `entrepot schema`: prints what a configuration may hold, for editors or for people. */
export function addSchema(program: Command): void {
  program
    .command('schema')
    .description('print the JSON Schema of the configuration')
    .option('--markdown', 'print the reference page for people instead')
    .action((options: { markdown?: boolean }) => {
      process.stdout.write(options.markdown ? configurationMarkdown() : jsonSchemaText());
    });
}
