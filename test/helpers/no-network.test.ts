import dns from 'node:dns';
import { lookup } from 'node:dns/promises';
import { once } from 'node:events';
import http from 'node:http';
import net from 'node:net';
import tls from 'node:tls';
import { expect, test } from 'vitest';
import { bannedDials, isLoopbackHost } from './no-network.ts';

// 192.0.2.0/24 (RFC 5737) and .invalid (RFC 2606) exist nowhere, so a broken ban still reaches nobody.
const foreign = '192.0.2.1';

function taken(): string[] {
  return bannedDials.splice(0);
}

test('a dial to another machine fails and is remembered for afterEach', async () => {
  const socket = net.connect(9, foreign);
  await expect(once(socket, 'connect')).rejects.toThrow(/loopback/);
  expect(taken()).toEqual([`tcp ${foreign}:9`]);
});

test('TLS and HTTP dials are banned as well', async () => {
  await expect(once(tls.connect({ host: foreign, port: 9 }), 'secureConnect')).rejects.toThrow(/loopback/);
  await expect(once(http.get(`http://${foreign}:9/`), 'response')).rejects.toThrow(/loopback/);
  await expect(fetch(`http://${foreign}:8080/`)).rejects.toThrow();
  expect(taken()).toHaveLength(3);
});

test('a name lookup is banned, by callback and by promise', async () => {
  await expect(lookup('registry.invalid')).rejects.toThrow(/loopback/);
  const error = await new Promise((resolve) => dns.lookup('registry.invalid', resolve));
  expect(String(error)).toMatch(/loopback/);
  expect(taken()).toEqual(['dns registry.invalid', 'dns registry.invalid']);
});

test('a custom lookup may map a name onto loopback but nowhere else', async () => {
  const server = net.createServer((peer) => peer.end()).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as net.AddressInfo;
  const mapped = (address: string) =>
    net.connect({
      host: 'registry.invalid',
      port,
      lookup: (_name, _options, done) => done(null, [{ address, family: 4 }]),
    });
  const local = mapped('127.0.0.1');
  await once(local, 'connect');
  local.destroy();
  await expect(once(mapped(foreign), 'connect')).rejects.toThrow(/loopback/);
  server.close();
  expect(taken()).toEqual([`tcp registry.invalid (${foreign})`]);
});

test('only loopback addresses count as loopback', () => {
  for (const host of ['127.0.0.1', '127.8.9.1', '::1', '[::1]', 'LOCALHOST'])
    expect(isLoopbackHost(host)).toBe(true);
  for (const host of ['128.0.0.1', '127.0.0.1.evil.example', '10.0.0.1', 'example.com'])
    expect(isLoopbackHost(host)).toBe(false);
});
