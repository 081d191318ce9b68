/** What a room may do. */
export type Room = {
  readonly rooms: readonly string[] | 'all';
  readonly packages: readonly string[];
  readonly powers: readonly string[];
  /** Files of the room that may write although the others may not. */
  readonly writers: readonly string[];
};

/** Reads the table of rooms in AGENTS.md, which is the rule. A cell that is not understood is an error. */
export function readRoomTable(text: string): ReadonlyMap<string, Room> {
  const heading = '| room | what it is | may import | of npm | touches |\n| --- | --- | --- | --- | --- |\n';
  const [, after] = text.split(heading);
  if (after === undefined) throw new Error('AGENTS.md has no table of rooms');
  const table = new Map<string, Room>();
  for (const line of after.slice(0, after.indexOf('\n\n')).split('\n')) {
    const [, names = '', , rooms = '', packages = '', touches = ''] = line.split('|');
    const room = { rooms: roomsOf(rooms), packages: listOf(packages), ...touchesOf(touches) };
    for (const [, name = ''] of names.matchAll(/`(\w+)(?:\.ts|\/)?`/g)) table.set(name, room);
  }
  return table;
}

/**
 * Reads the table of rooms within rooms: for `room/folder`, and for a room whose own files have a rule, which folders of
 * the same room it may import; `top` is the files directly in the room.
 */
export function readFolderTable(text: string): ReadonlyMap<string, readonly string[]> {
  const heading = '| folder | what it is | of its room, sees |\n| --- | --- | --- |\n';
  const [, after] = text.split(heading);
  if (after === undefined) throw new Error('AGENTS.md has no table of rooms within rooms');
  const table = new Map<string, readonly string[]>();
  for (const line of after.slice(0, after.indexOf('\n\n')).split('\n')) {
    const [, name = '', , sees = ''] = line.split('|');
    table.set(name.replaceAll('`', '').trim(), listOf(sees));
  }
  return table;
}

function listOf(cell: string): readonly string[] {
  const list = cell.split(',').map((item) => item.trim());
  return list.length === 1 && list[0] === 'nothing' ? [] : list;
}

function roomsOf(cell: string): readonly string[] | 'all' {
  return cell.trim() === 'all' ? 'all' : listOf(cell);
}

/** `sockets, reads files; writes files in a, b` */
function touchesOf(cell: string) {
  const [powers = '', writing = ''] = cell.split(';');
  const writers = /^ writes files in (.*)$/.exec(writing.trimEnd())?.[1];
  const known = ['pure', 'reads files', 'writes files', 'sockets', 'programs', 'threads'];
  const strange = listOf(powers).filter((power) => !known.includes(power));
  if (strange.length > 0 || (writing !== '' && writers === undefined)) {
    throw new Error(`AGENTS.md: what does "${cell}" mean?`);
  }
  return { powers: listOf(powers), writers: writers === undefined ? [] : listOf(writers) };
}
