import { mustGet } from './cold-layer.ts';

/** The samples of one metric, summed over those whose labels include all the given ones; 0 when there is none. */
export async function metric(origin: string, name: string, ...labels: string[]): Promise<number> {
  const { text } = await mustGet(origin, '/metrics');
  const lines = text.split('\n').filter((line) => line.startsWith(`${name}{`) || line.startsWith(`${name} `));
  const meant = lines.filter((line) => labels.every((label) => line.includes(label)));
  return meant.reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0);
}
