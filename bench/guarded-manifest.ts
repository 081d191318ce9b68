import { writeFileSync } from 'node:fs';
import { hash as bcrypt } from 'bcryptjs';
import { type Bench, type Benchmark, cpuDuring, startCache } from './harness/bench.ts';
import { entrepotExists } from './harness/entrepot.ts';
import { type Image, manifestPath } from './harness/images.ts';
import { fetchManifest, run, wrk } from './harness/load.ts';
import { startDockerRegistry } from './harness/peers.ts';
import type { Result } from './harness/report.ts';
import { atLeast, Samples } from './harness/samples.ts';
import type { Server } from './harness/sandbox.ts';

const openColumn = 'entrepot, all off';
const peerColumn = 'docker-registry, users and TLS';

/** The password of the one user, and its bcrypt hash of cost 10, the usual one. */
const login = { name: 'builder', password: 'correct horse battery staple' };

/** Rules as a careful site has them: the image that is measured is allowed by the last. */
const policy = `
policy:
  default: deny
  rules:
    - {images: "**", tags: [latest, "*-nightly", "/^(dev|edge)/"], action: deny, reason: pin a version}
    - {images: "ghcr.io/kotaemon/**", semver: ">=1.4.0 <2", action: allow}
    - {images: "quay.io/*/*", tags: ["v*"], action: allow, minAge: 3d}
    - {images: "docker.io/library/{python,node,postgres}", semver: "^3.10 || ^22 || ^16", action: allow, pin: true}
    - {images: "docker.io/**", semver: "1 - 99", action: allow}
`;

/** A cached manifest by tag, 32 connections, with what a guarded site turns on, one thing after the other. */
export const guardedManifest: Benchmark = {
  name: 'guarded-manifest',
  run: async (bench) => {
    const image = await bench.origin.image('app', [1000]);
    const tls = await makeCertificate(bench);
    const hash = await bcrypt(login.password, 10);
    const users = `
access:
  anonymous: [{images: "quay.io/**", actions: [pull]}]
  loginHosts: [127.0.0.1]
  users: {${login.name}: {passwordHash: "${hash}", grants: [{images: "**", actions: [pull]}]}}
`;
    const encrypted = `tls: {cert: ${tls.cert}, key: ${tls.key}}\n`;
    const path = manifestPath(image);
    const basic = `Basic ${Buffer.from(`${login.name}:${login.password}`).toString('base64')}`;
    const open = await startOurs(bench, image, '', undefined);
    const peer = await startPeer(bench, tls, hash);
    const results: Result[] = [];
    const faults: string[] = [];
    for (const { what, config, authorization } of [
      { what: 'policy', config: policy, authorization: undefined },
      { what: 'policy and users, Basic', config: policy + users, authorization: async () => basic },
      {
        what: 'policy and users, token',
        config: policy + users,
        authorization: async (url: string) => `Bearer ${await tokenFrom(url, image, basic)}`,
      },
      {
        what: 'policy, users and TLS, Basic',
        config: policy + users + encrypted,
        authorization: async () => basic,
      },
    ]) {
      const ours = await startOurs(bench, image, config, authorization && basic);
      const header = await authorization?.(ours.server.url);
      const versusPeer = what.includes('TLS');
      const parties = [
        { party: 'entrepot', server: ours.server, header },
        { party: openColumn, server: open.server, header: undefined },
        ...(versusPeer ? [{ party: peerColumn, server: peer, header: basic }] : []),
      ];
      const measured = await measure(bench, parties, path);
      faults.push(...measured.faults.map((fault) => `${what}: ${fault}`));
      results.push(
        measured.rate.toResult({ metric: `${what}, by tag`, unit: 'req/s', versus: openColumn }),
        measured.cpu.toResult({ metric: `${what}: server CPU`, unit: 'µs/req', versus: openColumn }),
      );
      if (versusPeer) {
        results.push(
          measured.rate.toResult({
            metric: `${what}, against docker-registry`,
            unit: 'req/s',
            versus: peerColumn,
            target: atLeast(6),
          }),
        );
      }
      await ours.close();
    }
    await open.close();
    await peer.stop();
    return { results, faults };
  },
};

async function startOurs(bench: Bench, image: Image, config: string, basic: string | undefined) {
  if (!entrepotExists()) throw new Error('there is no entrepot to measure');
  const cache = await startCache(bench, 'entrepot', { config });
  await fetchManifest(cache.server.url, image, basic);
  return cache;
}

async function startPeer(bench: Bench, tls: { cert: string; key: string }, hash: string): Promise<Server> {
  const htpasswd = bench.sandbox.path('htpasswd');
  writeFileSync(htpasswd, `${login.name}:${hash.replace('$2b$', '$2y$')}\n`);
  return startDockerRegistry(bench.sandbox, {
    storage: bench.origin.storage,
    logging: 'error',
    guard: { ...tls, htpasswd },
  });
}

async function makeCertificate({ sandbox }: Bench): Promise<{ cert: string; key: string }> {
  const cert = sandbox.path('tls.crt');
  const key = sandbox.path('tls.key');
  const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1'];
  const subject = ['-subj', '/CN=127.0.0.1', '-addext', 'subjectAltName=IP:127.0.0.1'];
  await run('openssl', [
    'req',
    '-x509',
    ...curve,
    '-nodes',
    '-days',
    '2',
    ...subject,
    '-keyout',
    key,
    '-out',
    cert,
  ]);
  return { cert, key };
}

async function tokenFrom(url: string, image: Image, basic: string): Promise<string> {
  const scope = encodeURIComponent(`repository:${image.repository}:pull`);
  const answer = await run('curl', ['-ksSf', '-H', `Authorization: ${basic}`, `${url}/token?scope=${scope}`]);
  return (JSON.parse(answer) as { token: string }).token;
}

async function measure(
  bench: Bench,
  parties: readonly { party: string; server: Server; header: string | undefined }[],
  path: string,
) {
  const rate = new Samples();
  const cpu = new Samples();
  const faults: string[] = [];
  const seconds = bench.short ? 1 : 2;
  for (let round = bench.short ? 0 : -1; round < (bench.short ? 1 : 5); round += 1) {
    for (const { party, server, header } of parties) {
      let answered = 0;
      const used = await cpuDuring(server, async () => {
        const { requestsPerSecond, bad } = await wrk(server.url + path, seconds, header);
        answered = requestsPerSecond * seconds;
        if (bad > 0 && party !== peerColumn)
          faults.push(`${party}: ${bad} of ${answered} answers were errors`);
        if (round >= 0) rate.add(party, requestsPerSecond);
      });
      if (round >= 0) cpu.add(party, (used * 1e6) / answered);
    }
  }
  return { rate, cpu, faults };
}
