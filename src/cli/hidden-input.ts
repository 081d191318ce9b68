import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { Writable } from 'node:stream';
import { text as readText } from 'node:stream/consumers';

/** Standard input, or what stands for it. */
export type InputStream = Readable & { readonly isTTY?: boolean };

/**
 * Reads a secret: on a terminal asks twice without showing what is typed, else takes the input whole, less one line
 * end.
 * @param prompts where questions go; never standard output, which may be redirected
 * @throws when the two differ, or the user gives up
 */
export async function readSecret(input: InputStream, prompts: Writable): Promise<string> {
  if (!input.isTTY) return (await readText(input)).replace(/\r?\n$/, '');
  const [first, second] = await askHidden(input, prompts, ['Password: ', 'Again: ']);
  if (first !== second) throw new Error('the two passwords differ');
  return first ?? '';
}

function askHidden(input: Readable, prompts: Writable, questions: readonly string[]): Promise<string[]> {
  return new Promise((resolve, reject) => {
    const answers: string[] = [];
    const nowhere = new Writable({ write: (_chunk, _encoding, done) => done() });
    const terminal = createInterface({ input, output: nowhere, terminal: true, historySize: 0 });
    prompts.write(questions[0] ?? '');
    terminal.on('line', (line) => {
      answers.push(line);
      prompts.write('\n');
      if (answers.length === questions.length) terminal.close();
      else prompts.write(questions[answers.length] ?? '');
    });
    terminal.once('SIGINT', () => terminal.close());
    terminal.once('close', () => {
      if (answers.length === questions.length) resolve(answers);
      else reject(new Error('no password was given'));
    });
  });
}
