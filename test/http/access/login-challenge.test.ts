import https from 'node:https';
import type { AddressInfo } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { setChallenge } from '../../../src/http/access/login-challenge.ts';
import { localhostTls } from '../../upstream/tls-fixture.ts';

/** What a TLS client that says it comes through a proxy with `headers` is challenged with. */
async function challengeOverTls(headers: Readonly<Record<string, string>>): Promise<string | undefined> {
  const server = https.createServer(localhostTls, (incoming, outgoing) => {
    const scope = { name: 'x"y', action: 'pull' } as const;
    setChallenge({ incoming, outgoing }, { realm: undefined, schemes: 'bearer', scope });
    outgoing.end();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  return new Promise((resolve, reject) => {
    const options = {
      host: '127.0.0.1',
      port,
      ca: localhostTls.cert,
      agent: false,
      headers,
      servername: 'localhost',
    };
    https
      .get(options, (response) => {
        response.resume();
        resolve(response.headers['www-authenticate']);
      })
      .once('error', reject);
  });
}

test('a client that came by TLS is never sent to plain HTTP with its password', async () => {
  const challenge = await challengeOverTls({ host: 'reg.test', 'x-forwarded-proto': 'http' });
  expect(challenge).toMatch(/^Bearer realm="https:\/\/reg\.test\/token"/);
});

test('a name that could end the quotes is left out', async () => {
  expect(await challengeOverTls({ host: 'reg.test' })).toBe(
    'Bearer realm="https://reg.test/token",service="entrepot"',
  );
});
