import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';

/** What went wrong elsewhere; each is named by the tests that would notice it here. */
const advisories = [
  'CVE-2026-33540',
  'CVE-2026-48978',
  'go-containerregistry#2193',
  'jib#4523',
  'devcontainers/cli PR#1276',
  'CVE-2020-15157',
  'CVE-2026-49349',
  'CVE-2026-59891',
  'GO-2026-6225',
  'connaisseur PR#2166',
  'CVE-2024-24758',
  'CVE-2024-30260',
  'CVE-2023-45143',
  'CVE-2022-31151',
  'CVE-2026-1525',
  'CVE-2026-85747',
  'CVE-2025-24882',
  'CVE-2021-41190',
  'GHSA-qq97-vm5h-rrhg',
  'GHSA-5j5w-g665-5m35',
  'CVE-2026-35172',
  'CVE-2024-39897',
  'CVE-2026-31801',
  'CVE-2026-61833',
  'CVE-2023-2253',
  'CVE-2017-11468',
  'GO-2022-0785',
  'CVE-2019-19030',
  'CVE-2026-111590',
  'GitLab #455273',
  'CVE-2022-0249',
  'GitLab #458484',
  'CVE-2026-4404',
  'CVE-2023-27584',
  'CVE-2025-59345 to CVE-2025-59352',
  'GO-2025-3963 to GO-2025-3974',
  'GO-2026-4356',
  'CVE-2024-4956',
  'CVE-2026-22817',
  'CVE-2026-22818',
  'CVE-2026-44457',
  'CVE-2026-47674',
  'CVE-2026-126357',
  'hazard (docker-registry-proxy)',
  'hazard (dfdaemon, mcronce/oci-registry)',
  'hazard (NORA, zot)',
  'hazard (distribution)',
  'hazard (zot)',
];

/** Parts of an advisory about what this server does not do yet; with the room that would do it come the tests. */
const notYet: Readonly<Record<string, readonly string[]>> = {
  push: [
    'CVE-2026-35172: a blob that is deleted here stays unreadable, through other repositories too',
    'CVE-2024-39897: a mount needs the right to pull from the repository that is mounted from',
    'CVE-2026-61833: a token to push does not delete, over HTTP',
    'CVE-2017-11468: the body of a manifest that is pushed is bounded, as uploads are',
    'CVE-2021-41190: an ambiguous document is refused when it is pushed',
    'CVE-2024-4956: the identifier of an upload is no path',
  ],
  catalog: [
    'CVE-2023-2253: n of the catalog is bounded',
    'GO-2022-0785, CVE-2019-19030: the catalog lists what its reader may pull',
  ],
  webhooks: [
    'CVE-2026-111590, GitLab #455273: a webhook is judged by the egress guard, and its answer is not logged',
  ],
};

const here = import.meta.dirname;
const src = join(here, '../../src');

const suites = readdirSync(here)
  .filter((file) => file.endsWith('.test.ts') && file !== 'advisories.test.ts')
  .map((file) => readFileSync(join(here, file), 'utf8'))
  .join('\n');

test.each(advisories)('%s is what a test is named after', (advisory) => {
  const titles = [...suites.matchAll(/^(?:describe\(|const \w+ =|)\s*(['"])(.*)\1/gm)].map(
    ([, , title]) => title,
  );
  expect(titles.filter((title) => title?.includes(advisory))).not.toEqual([]);
});

test.each(Object.entries(notYet))('there is no %s yet that its advisories would be about', (room, advice) => {
  const files = readdirSync(src, { recursive: true, encoding: 'utf8' });
  const found = files.filter((file) => file.split(/[/.]/).includes(room));
  expect(existsSync(src)).toBe(true);
  expect(found, `now is the time to test:\n${advice.join('\n')}`).toEqual([]);
});
