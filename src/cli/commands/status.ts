import { readFile } from 'node:fs/promises';
import { type Command, InvalidArgumentError } from 'commander';
import { delay } from '../../lib/abort.ts';
import { eachAtOnce } from '../../lib/concurrency.ts';
import { parseDuration } from '../../lib/units.ts';
import { type AdminClient, AdminError } from '../admin/admin-client.ts';
import { type AdminWork, printJson, runAdmin } from '../admin/admin-command.ts';
import { askMirror, type MirrorLogin, mirrorOrigin } from '../admin/mirror-client.ts';
import { addConfigOption } from '../config-option.ts';
import { addImages, addPlatforms, type ImageSources, readImages, requireImages } from '../image-arguments.ts';
import { type Progress, ProgressBars } from '../progress.ts';
import { type Answer, here, type ImageReport, reportText, type Status, verdict } from '../status-report.ts';

type Options = ImageSources & {
  readonly platform?: readonly string[];
  readonly wait?: number;
  readonly mirror?: readonly string[];
  readonly user?: string;
  readonly passwordFile?: string;
  readonly json?: boolean;
  readonly config?: string;
};

/** Milliseconds between two looks while waiting. */
const lookEvery = 2_000;

/** Images asked about at once. */
const atOnce = 4;

/** Adds `entrepot status`: the gate before a deployment. */
export function addStatus(program: Command): void {
  const command = program
    .command('status')
    .description(
      'tell whether images are here, whole, for a platform; no upstream is asked. Exit code 0 only when all of them ' +
        'are whole everywhere, as the same digest, and policy allows them; else 1',
    );
  addPlatforms(addImages(command))
    .option(
      '--wait <duration>',
      'look again until they are whole, for at most this long, such as 10m',
      (text) => {
        const duration = parseDuration(text);
        if (duration === undefined) throw new InvalidArgumentError('Write it as 90s or 10m.');
        return duration;
      },
    )
    .option(
      '--mirror <url...>',
      'ask these other entrepots too, and compare; a user who may administer the image is needed there',
    )
    .option('--user <name>', 'the user at the other mirrors')
    .option('--password-file <file>', "a file that holds that user's password")
    .option('--json', 'print JSON instead of a table');
  addConfigOption(command).action(async (names: readonly string[], options: Options) => {
    requireImages(command, names, options);
    const mirrors = (options.mirror ?? []).map((text) => {
      const origin = mirrorOrigin(text);
      if (origin !== undefined) return origin;
      return command.error(
        `error: --mirror ${text.replace(/\/\/[^/]*@/, '//')} must be http(s)://host[:port]; logins go in --user`,
        { exitCode: 2 },
      );
    });
    if ((options.user === undefined) !== (options.passwordFile === undefined)) {
      command.error('error: --user and --password-file are given together', { exitCode: 2 });
    }
    await runAdmin(options.config, async (admin) => {
      const images = await readImages(names, options);
      for (const mirror of options.user === undefined ? [] : mirrors) {
        if (!/^http:\/\/(?!localhost(?::|$)|127\.|\[::1\])/.test(mirror)) continue;
        process.stderr.write(`note: the password goes to ${mirror} unencrypted: use https\n`);
      }
      return status(images, { ...options, mirrors, login: await loginOf(options) }, admin);
    });
  });
}

async function status(
  images: readonly string[],
  options: Options & { readonly mirrors: readonly string[]; readonly login: MirrorLogin | undefined },
  admin: AdminWork,
): Promise<number> {
  const { wait = 0, json } = options;
  const until = Date.now() + wait;
  const bars = new ProgressBars({ output: process.stderr, now: Date.now });
  for (;;) {
    const reports = await look(images, options, admin);
    const whole = reports.every((report) => verdict(report) === 'whole');
    const left = until - Date.now();
    if (!whole && left > 0) {
      bars.setTotal(waitingFor(reports));
      await delay(Math.min(lookEvery, left), admin.signal);
      continue;
    }
    bars.close();
    if (json)
      printJson({ whole, images: reports.map((report) => ({ ...report, verdict: verdict(report) })) });
    else process.stdout.write(reportText(reports));
    return whole ? 0 : 1;
  }
}

/** How much is here of what is waited for, over all places. */
function waitingFor(reports: readonly ImageReport[]): Progress {
  const told = reports.flatMap(({ places }) =>
    places.flatMap((place) => ('status' in place ? place.status : [])),
  );
  const total = told.reduce((sum, { bytes }) => sum + bytes, 0);
  const missing = told.flatMap((each) => each.missing).reduce((sum, { size }) => sum + size, 0);
  const whole = reports.filter((report) => verdict(report) === 'whole').length;
  return { label: `waiting, ${whole} of ${reports.length} whole`, done: total - missing, total };
}

/** Asks everywhere, once. */
async function look(
  images: readonly string[],
  {
    platform = [],
    mirrors,
    login,
  }: Options & { readonly mirrors: readonly string[]; readonly login: MirrorLogin | undefined },
  { client, signal }: AdminWork,
): Promise<readonly ImageReport[]> {
  const reports = new Map<string, ImageReport>();
  await eachAtOnce(images, atOnce, async (name) => {
    const query = { image: name, ...(platform.length > 0 && { platform: platform.join(',') }) };
    const own = await ask(client, query, signal);
    if ('problem' in own) {
      reports.set(name, { image: name, places: [own] });
      return;
    }
    const others = await Promise.all(
      mirrors.map(async (mirror): Promise<Answer> => {
        try {
          // In full: what is left out may stand for something else there.
          const asked = { ...query, image: own.status.image };
          const told = await askMirror(mirror, '/api/v1/images', asked, login, signal);
          return { where: mirror, status: told as Status };
        } catch (error) {
          signal.throwIfAborted();
          return { where: mirror, problem: error instanceof Error ? error.message : String(error) };
        }
      }),
    );
    reports.set(name, { image: own.status.image, places: [own, ...others] });
  });
  return images.flatMap((name) => reports.get(name) ?? []);
}

/** Asks this storage. That it knows no such registry is said of the image, so that the others are looked at. */
async function ask(
  client: AdminClient,
  query: Readonly<Record<string, string>>,
  signal: AbortSignal,
): Promise<Answer> {
  try {
    const status = await client.call({ method: 'GET', path: '/api/v1/images', query }, signal);
    return { where: here, status: status as Status };
  } catch (error) {
    if (error instanceof AdminError && error.code === 'NAME_UNKNOWN')
      return { where: here, problem: error.message };
    throw error;
  }
}

async function loginOf({ user, passwordFile }: Options): Promise<MirrorLogin | undefined> {
  if (user === undefined || passwordFile === undefined) return undefined;
  return { user, password: (await readFile(passwordFile, 'utf8')).replace(/\r?\n$/, '') };
}
