/** Characters that mean something to a regular expression. */
const special = /[.*+?^${}()|[\]\\]/g;

/**
 * Translates a glob into the source of a regular expression that needs no look-around, so that a linear engine can
 * run it: `*` and `?` stop at a slash, `**` as a whole component does not, `{a,b}` and `(a|b)` are alternatives, `[ab]`
 * and `[!ab]` sets. Everything else stands for itself.
 * @throws TypeError for a bracket without its other half
 */
export function globSource(glob: string): string {
  const closers: string[] = [];
  let source = '';
  for (let at = 0; at < glob.length; at += 1) {
    const rest = glob.slice(at);
    const wide = /^\*\*+(\/|$)/.exec(rest);
    const wholeComponent = at === 0 || glob[at - 1] === '/';
    if (wide !== null && wholeComponent) {
      // With nothing behind it, it also stands for no component at all, the slash before it included.
      const ends = wide[1] === '';
      source =
        ends && source.endsWith('/')
          ? `${source.slice(0, -1)}(?:/.*)?`
          : `${source}${ends ? '.*' : '(?:.*/)?'}`;
      at += wide[0].length - 1;
      continue;
    }
    const set = /^\[([!^]?)(\]?[^\]]*)\]/.exec(rest);
    if (set !== null) {
      const [whole, negated = '', members = ''] = set;
      source += `[${negated === '' ? '' : '^/'}${members.replace(/[[\]\\^]/g, '\\$&')}]`;
      at += whole.length - 1;
      continue;
    }
    source += piece(rest, closers);
    if (rest.startsWith('*')) at += (/^\*+/.exec(rest)?.[0].length ?? 1) - 1;
  }
  if (closers.length > 0) throw new TypeError('it opens a bracket that it does not close');
  return `^(?:${source})$`;
}

function piece(rest: string, closers: string[]): string {
  const letter = rest.charAt(0);
  const innermost = closers.at(-1);
  switch (letter) {
    case '*':
      return '[^/]*';
    case '?':
      return '[^/]';
    case '{':
    case '(':
      closers.push(letter === '{' ? '}' : ')');
      return '(?:';
    case '}':
    case ')':
      if (closers.pop() !== letter) throw new TypeError('it closes a bracket that it does not open');
      return ')';
    case ',':
      return innermost === '}' ? '|' : ',';
    case '|':
      return innermost === ')' ? '|' : '\\|';
    case '[':
    case ']':
      throw new TypeError('it has half a bracket');
    default:
      return letter.replace(special, '\\$&');
  }
}
