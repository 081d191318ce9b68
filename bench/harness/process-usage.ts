import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';

const ticksPerSecond = Number(execFileSync('getconf', ['CLK_TCK'], { encoding: 'utf8' }));

/** CPU seconds (user + system, all threads) that a process and its living descendants have used so far. */
export function cpuSeconds(pid: number): number {
  const ticks = family(pid).reduce((sum, member) => {
    const fields = stat(member);
    return sum + Number(fields[11] ?? 0) + Number(fields[12] ?? 0);
  }, 0);
  return ticks / ticksPerSecond;
}

/**
 * Resident bytes of a process and its living descendants; pages they share are counted for each.
 * `RssAnon` leaves out what is mapped from files, such as the program itself.
 */
export function residentBytes(pid: number, field: 'VmRSS' | 'RssAnon' = 'VmRSS'): number {
  return family(pid).reduce((sum, member) => sum + statusBytes(member, field), 0);
}

/** The largest resident size the kernel has seen of this one process, in bytes. */
export function peakResidentBytes(pid: number): number {
  return statusBytes(pid, 'VmHWM');
}

function statusBytes(pid: number, field: string): number {
  const line = new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(read(`/proc/${pid}/status`));
  return Number(line?.[1] ?? 0) * 1024;
}

function family(root: number): number[] {
  const children = new Map<number, number[]>();
  for (const entry of readdirSync('/proc')) {
    const pid = Number(entry);
    if (!Number.isInteger(pid)) continue;
    const parent = Number(stat(pid)[1] ?? 0);
    children.set(parent, [...(children.get(parent) ?? []), pid]);
  }
  const members = [root];
  for (const member of members) members.push(...(children.get(member) ?? []));
  return members;
}

/** Fields of /proc/PID/stat from the state on (proc(5) field 3), since the command name may hold spaces. */
function stat(pid: number): string[] {
  const text = read(`/proc/${pid}/stat`);
  return text.slice(text.lastIndexOf(')') + 2).split(' ');
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return ''; // The process ended between the listing and the read.
  }
}
