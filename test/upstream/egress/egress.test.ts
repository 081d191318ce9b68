import { describe, expect, it } from 'vitest';
import { Egress, EgressError, egressRule } from '../../../src/upstream/egress/egress.ts';
import { namesOf } from '../names.ts';

/** What the lookup for a connection to `host` answers, or the refusal's message. */
function resolve(egress: Egress, host: string, all = true): Promise<readonly string[] | string> {
  return new Promise((settle, reject) => {
    egress.lookup(host, { all }, (error, found) => {
      if (error instanceof EgressError) settle(error.message);
      else if (error) reject(error);
      else settle(typeof found === 'string' ? [found] : found.map(({ address }) => address));
    });
  });
}

function open(upstream: string, table: Parameters<typeof namesOf>[0], trusted: readonly string[] = []) {
  const { lookup, asked } = namesOf(table);
  return { egress: new Egress(egressRule(new URL(upstream), trusted), lookup), asked };
}

const addresses = {
  public: '203.0.114.7',
  private: '10.0.0.5',
  loopback: '127.0.0.1',
  'link-local': '169.254.169.254',
} as const;
type Class = keyof typeof addresses;

/** By the upstream's class: where a host that it names may be. */
const table: Readonly<Record<Class, Readonly<Record<Class, boolean>>>> = {
  public: { public: true, private: false, loopback: false, 'link-local': false },
  private: { public: true, private: true, loopback: false, 'link-local': false },
  loopback: { public: true, private: true, loopback: true, 'link-local': false },
  'link-local': { public: true, private: false, loopback: false, 'link-local': true },
};
const rows = Object.entries(table).flatMap(([own, row]) => {
  return Object.entries(row).map(([other, allowed]) => [own as Class, other as Class, allowed] as const);
});

describe.each(rows)('for a %s upstream, a %s host', (own, other, allowed) => {
  it(`is ${allowed ? 'connected to' : 'refused'} by name`, async () => {
    const { egress } = open('https://registry.test', {
      'registry.test': [[addresses[own]]],
      'files.test': [[addresses[other]]],
    });
    const found = await resolve(egress, 'files.test');
    if (allowed) expect(found).toEqual([addresses[other]]);
    else {
      expect(found).toBe(
        `a connection to files.test is refused: files.test is at the ${other} address ${addresses[other]}, ` +
          'where the upstream itself is not',
      );
    }
  });

  it(`is ${allowed ? 'connected to' : 'refused'} by address`, async () => {
    const { egress, asked } = open(`https://${addresses[own]}`, {});
    const admitted = egress.admit({ host: addresses[other], port: 443, tls: true });
    if (allowed) await admitted;
    else await expect(admitted).rejects.toThrow(`the ${other} address ${addresses[other]}`);
    expect(asked).toEqual([]);
  });
});

it('the upstream itself may be anywhere, and so may what the operator wrote down', async () => {
  const { egress, asked } = open(
    'https://registry.test',
    {
      'registry.test': [[addresses['link-local']]],
      'sso.corp': [[addresses.private]],
      'x.sso.corp': [[addresses.private]],
    },
    ['sso.corp:8443', '10.9.9.9'],
  );
  expect(await resolve(egress, 'registry.test')).toEqual([addresses['link-local']]);
  expect(await resolve(egress, 'sso.corp')).toEqual([addresses.private]);
  expect(await resolve(egress, 'x.sso.corp')).toContain('is refused');
  await egress.admit({ host: '10.9.9.9', port: 443, tls: true });
  expect(asked).toEqual(['registry.test', 'sso.corp', 'x.sso.corp', 'registry.test']);
});

it('an address that is refused is left out where a host has others', async () => {
  const { egress } = open('https://registry.test', {
    'registry.test': [[addresses.public]],
    'files.test': [[addresses.private, addresses.public, addresses.loopback]],
  });
  expect(await resolve(egress, 'files.test')).toEqual([addresses.public]);
  expect(await resolve(egress, 'files.test', false)).toContain('is refused');
});

it('a site with public addresses too is still private, but not this machine', async () => {
  const own = (address: string) => ({ 'registry.test': [[addresses.public, address]] });
  const other = (address: string) => ({ 'files.test': [[address]] });
  const found = (address: string) => {
    const { egress } = open('https://registry.test', { ...own(address), ...other(address) });
    return resolve(egress, 'files.test');
  };
  expect(await found(addresses.private)).toEqual([addresses.private]);
  expect(await found(addresses.loopback)).toContain('is refused');
  expect(await found(addresses['link-local'])).toContain('is refused');
});

it('an upstream whose addresses cannot be told gives no rights', async () => {
  const { egress } = open('https://registry.test', { 'files.test': [[addresses.private]] });
  expect(await resolve(egress, 'files.test')).toContain('is refused');
});

it('a name that is not known is no refusal', async () => {
  const { egress } = open('https://registry.test', {});
  await expect(resolve(egress, 'files.test')).rejects.toMatchObject({ code: 'ENOTFOUND' });
});

it('this machine by name is judged before anybody looks it up, as for a proxy that would', async () => {
  const { egress } = open('https://registry.test', { 'registry.test': [[addresses.public]] });
  const admit = (host: string) => egress.admit({ host, port: 443, tls: true });
  await expect(admit('localhost')).rejects.toThrow('the loopback address');
  await expect(admit('a.localhost')).rejects.toThrow(EgressError);
  await expect(admit('::ffff:127.0.0.1')).rejects.toThrow(EgressError);
  await admit('localhost.test');
});

it('plain http is for an upstream that is plain http, and for what was trusted with it', async () => {
  const admit = (upstream: string, host: string, port = 80) => {
    const { egress } = open(upstream, {}, ['http://auth.corp:5001']);
    return egress.admit({ host, port, tls: false });
  };
  await admit('http://registry.test', 'files.test');
  await admit('https://registry.test', 'auth.corp', 5001);
  await expect(admit('https://registry.test', 'files.test')).rejects.toThrow(
    'a connection to http://files.test is refused: it is not https',
  );
  await expect(admit('https://registry.test', 'registry.test')).rejects.toThrow('not https');
  await expect(admit('https://registry.test', 'auth.corp', 5002)).rejects.toThrow('not https');
});

it('the rule is plain data', () => {
  const rule = egressRule(new URL('https://user@registry.test:5000/base'), ['sso.corp', 'http://a:1', '??']);
  expect(structuredClone(rule)).toEqual({
    upstream: 'https://registry.test:5000',
    trusted: ['https://sso.corp', 'http://a:1'],
  });
});
