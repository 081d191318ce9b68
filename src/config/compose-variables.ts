/** A text with its variables put in, or why that cannot be. */
type Substituted =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'unset'; readonly why: string };

const variable = /\$(?:\$|\{([A-Za-z_][A-Za-z0-9_]*)(?:(:?[-?+])([^{}]*))?\}|([A-Za-z_][A-Za-z0-9_]*)|)/g;

/**
 * Puts variables into a text by the rules of compose files: `$NAME`, `${NAME}`, `${NAME:-default}` and `${NAME-default}`,
 * `${NAME:?error}`, `${NAME:+instead}`, and `$$` for a dollar sign. One that nothing sets is told, since an image's name
 * with a hole in it names another image.
 */
export function substituteVariables(
  text: string,
  env: Readonly<Record<string, string | undefined>>,
): Substituted {
  let why: string | undefined;
  const result = text.replace(
    variable,
    (whole, braced?: string, operator?: string, word = '', bare?: string) => {
      if (whole === '$$') return '$';
      const name = braced ?? bare;
      if (name === undefined) {
        why ??= `${JSON.stringify(text.slice(0, 200))} holds a $ that begins no variable`;
        return '';
      }
      const value = env[name];
      const isSet = value !== undefined && (value !== '' || !operator?.startsWith(':'));
      if (operator?.endsWith('+')) return isSet ? word : '';
      if (isSet && (value !== '' || operator !== undefined)) return value;
      if (operator?.endsWith('-')) return word;
      why ??= `the variable ${name} is not set`;
      return '';
    },
  );
  return why === undefined ? { kind: 'text', text: result } : { kind: 'unset', why };
}
