import type { LookupFunction } from 'node:net';
import { isIP } from 'node:net';

/** A name lookup with a table of its own; the answers of a name are given one after the other, the last for good. */
export function namesOf(table: Readonly<Record<string, readonly (readonly string[])[]>>) {
  const asked: string[] = [];
  const lookup: LookupFunction = (host, options, callback) => {
    const answers = table[host] ?? [];
    const nth = asked.filter((name) => name === host).length;
    asked.push(host);
    const found = (answers[Math.min(nth, answers.length - 1)] ?? []).map((address) => {
      return { address, family: isIP(address) };
    });
    const [first] = found;
    queueMicrotask(() => {
      if (!first) callback(Object.assign(new Error(`unknown ${host}`), { code: 'ENOTFOUND' }), []);
      else if (options.all) callback(null, found);
      else callback(null, first.address, first.family);
    });
  };
  return { lookup, asked };
}
