import { expect, it } from 'vitest';
import { judgeRealm } from '../../src/upstream/realm.ts';

it.each([
  ['https://auth.docker.io/token', 'https://registry-1.docker.io'],
  ['https://ghcr.io/token', 'https://ghcr.io'],
  ['https://quay.io/v2/auth', 'https://quay.io'],
  ['https://gitlab.com/jwt/auth', 'https://registry.gitlab.com'],
  ['https://dockerauth.cn-hangzhou.aliyuncs.com/auth', 'https://registry.cn-hangzhou.aliyuncs.com'],
  ['https://harbor.corp/service/token', 'https://harbor.corp/dockerhub'],
  ['https://auth.corp.example.co.uk/token', 'https://registry.example.co.uk'],
  ['https://registry:5001/token', 'https://registry:5000'],
  ['https://10.0.0.5/token', 'https://10.0.0.5:5000'],
  ['http://10.0.0.5:5000/token', 'http://10.0.0.5:5000'],
  ['http://registry.corp/token', 'http://registry.corp'],
  ['http://127.0.0.1:5001/token', 'http://localhost:5000'],
  ['https://[::1]:5001/token', 'https://127.0.0.1:5000'],
  ['https://auth.registry.corp/token', 'http://registry.corp'],
])('the realm %s is allowed for %s', (realm, upstream) => {
  expect(judgeRealm(realm, new URL(upstream), [])).toEqual({ kind: 'allowed', url: new URL(realm) });
});

it.each([
  ['https://auth.docker.io.evil.test/token', 'https://registry-1.docker.io'],
  ['https://evildocker.io/token', 'https://registry-1.docker.io'],
  ['https://docker.io.test/token', 'https://registry-1.docker.io'],
  ['https://auth.docker.io@evil.test/token', 'https://registry-1.docker.io'],
  ['https://user:pass@auth.docker.io/token', 'https://registry-1.docker.io'],
  ['https://auth.docker.io%2eevil.test/token', 'https://registry-1.docker.io'],
  ['https://auth.docker.io\\@evil.test/token', 'https://registry-1.docker.io.test'],
  ['https://аuth.dоcker.io/token', 'https://registry-1.docker.io'],
  ['http://auth.docker.io/token', 'https://registry-1.docker.io'],
  ['http://registry-1.docker.io/token', 'https://registry-1.docker.io'],
  ['https://evil.co.uk/token', 'https://registry.co.uk'],
  ['https://b.github.io/token', 'https://a.github.io'],
  ['https://io/token', 'https://ghcr.io'],
  ['https://other/token', 'https://registry'],
  ['https://10.0.0.6/token', 'https://10.0.0.5'],
  ['https://10.0.0.6/token', 'https://registry.corp'],
  ['https://169.254.169.254/latest', 'https://registry.corp'],
  ['http://169.254.169.254/latest', 'http://registry.corp'],
  ['https://[fd00::1]/token', 'https://registry.corp'],
  ['https://[::ffff:10.0.0.1]/token', 'https://registry.corp'],
  ['https://0x7f.1/token', 'https://registry.corp'],
  ['http://127.0.0.1:5001/token', 'http://registry.corp'],
  ['http://127.0.0.1:5001/token', 'https://127.0.0.1:5000'],
  ['http://registry.corp:81/token', 'http://registry.corp'],
  ['http://auth.registry.corp/token', 'http://registry.corp'],
  ['https://localhost/token', 'https://registry.corp'],
  ['ftp://auth.docker.io/token', 'https://registry-1.docker.io'],
  ['file:///etc/passwd', 'https://registry-1.docker.io'],
  ['/token', 'https://registry-1.docker.io'],
  ['', 'https://registry-1.docker.io'],
])('the realm %s is refused for %s', (realm, upstream) => {
  expect(judgeRealm(realm, new URL(upstream), []).kind).toBe('refused');
});

it('may be trusted by name, exactly', () => {
  const upstream = new URL('https://registry.corp');
  const judge = (realm: string, ...trusted: string[]) => judgeRealm(realm, upstream, trusted).kind;
  expect(judge('https://sso.other.test/token', 'sso.other.test')).toBe('allowed');
  expect(judge('https://sso.other.test:8443/token', 'sso.other.test:8443')).toBe('allowed');
  expect(judge('https://10.9.9.9/token', '10.9.9.9')).toBe('allowed');
  expect(judge('http://sso.other.test/token', 'http://sso.other.test')).toBe('allowed');
  expect(judge('http://sso.other.test/token', 'sso.other.test')).toBe('refused');
  expect(judge('https://sso.other.test:8443/token', 'sso.other.test')).toBe('refused');
  expect(judge('https://x.sso.other.test/token', 'sso.other.test')).toBe('refused');
  expect(judge('https://sso.other.test.evil.test/token', 'sso.other.test')).toBe('refused');
});

it('says why, naming the origin but nothing else of the realm', () => {
  const reason = (realm: string) => {
    const verdict = judgeRealm(realm, new URL('https://registry.corp'), []);
    return verdict.kind === 'refused' ? verdict.reason : undefined;
  };
  expect(reason('https://10.0.0.6/token?x=y')).toBe('its token realm https://10.0.0.6 is a private address');
  expect(reason('http://registry.corp/token?x=y')).toBe('its token realm http://registry.corp is not https');
  expect(reason('https://sso.other.test/token?x=y')).toContain(
    'https://sso.other.test belongs to another domain',
  );
});
