import { expect, it } from 'vitest';
import { classOfAddress } from '../../../src/upstream/egress/address-class.ts';
import { writtenClass } from '../../../src/upstream/egress/hosts.ts';

it.each([
  ['8.8.8.8', 'public'],
  ['172.15.255.255', 'public'],
  ['172.32.0.0', 'public'],
  ['100.63.255.255', 'public'],
  ['2606:4700::1111', 'public'],
  ['::ffff:8.8.8.8', 'public'],
  ['64:ff9b::808:808', 'public'],
  ['2002:808:808::1', 'public'],
  ['10.0.0.5', 'private'],
  ['172.16.0.1', 'private'],
  ['172.31.255.255', 'private'],
  ['192.168.1.1', 'private'],
  ['100.64.0.1', 'private'],
  ['198.18.0.7', 'private'],
  ['224.0.0.1', 'private'],
  ['255.255.255.255', 'private'],
  ['fd00::1', 'private'],
  ['fec0::1', 'private'],
  ['ff02::1', 'private'],
  ['::ffff:10.0.0.5', 'private'],
  ['::ffff:a00:5', 'private'],
  ['::10.0.0.5', 'private'],
  ['64:ff9b::10.0.0.5', 'private'],
  ['64:ff9b:1::1', 'private'],
  ['2002:a00:5::1', 'private'],
  ['127.0.0.1', 'loopback'],
  ['127.255.255.254', 'loopback'],
  ['0.0.0.0', 'loopback'],
  ['::1', 'loopback'],
  ['::', 'loopback'],
  ['0:0:0:0:0:0:0:1', 'loopback'],
  ['::ffff:127.0.0.1', 'loopback'],
  ['::ffff:0:127.0.0.1', 'loopback'],
  ['64:ff9b::7f00:1', 'loopback'],
  ['2002:7f00:1::', 'loopback'],
  ['169.254.169.254', 'link-local'],
  ['fe80::1', 'link-local'],
  ['fe80::1%eth0', 'link-local'],
  ['::ffff:169.254.169.254', 'link-local'],
  ['64:ff9b::a9fe:a9fe', 'link-local'],
  ['100.100.100.200', 'link-local'],
  ['192.0.0.192', 'link-local'],
  ['168.63.129.16', 'link-local'],
  ['fd00:ec2::254', 'link-local'],
  ['registry.corp', 'private'],
  ['', 'private'],
])('%s is %s', (address, expected) => {
  expect(classOfAddress(address)).toBe(expected);
});

it.each([
  ['localhost', 'loopback'],
  ['LOCALHOST.', 'loopback'],
  ['registry.localhost', 'loopback'],
  ['[::1]', 'loopback'],
  ['127.0.0.1', 'loopback'],
  ['[fd00::1]', 'private'],
  ['8.8.8.8', 'public'],
  ['notlocalhost', undefined],
  ['localhost.evil.test', undefined],
  ['registry.corp', undefined],
])('the host %s is known to be %s', (host, expected) => {
  expect(writtenClass(host)).toBe(expected);
});
