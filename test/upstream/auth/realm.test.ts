import { describe, expect, it } from 'vitest';
import { judgeRealm } from '../../../src/upstream/auth/realm.ts';

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

/** Registries, the realms that they name, and realms that somebody would like them to name. */
const known: readonly (readonly [string, string, readonly string[]])[] = [
  [
    'registry-1.docker.io',
    'auth.docker.io/token',
    ['auth.docker.io.evil.com', 'evildocker.io', 'auth.docker.com', 'docker.io.evil.com', 'auth-docker.io'],
  ],
  ['ghcr.io', 'ghcr.io/token', ['ghcr.io.evil.com', 'evilghcr.io', 'ghcr.com', 'ghcr-io.github.io']],
  ['quay.io', 'quay.io/v2/auth', ['quay.io.evil.com', 'evilquay.io', 'quay.com', 'quay.io-evil.com']],
  [
    'registry.cn-hangzhou.aliyuncs.com',
    'dockerauth.cn-hangzhou.aliyuncs.com/auth',
    [
      'aliyuncs.com.evil.cn',
      'dockerauth.cn-hangzhou.aliyuncs.com.evil.cn',
      'evilaliyuncs.com',
      'dockerauth.cn-beijing.aliyuncs.com',
      'dockerauth.oss-cn-hangzhou.aliyuncs.com',
      'evil.oss-cn-hangzhou.aliyuncs.com',
      'evil.cn-hangzhou.aliyuncs.com',
      'evil.cn-hangzhou.fc.aliyuncs.com',
      'xdockerauth.cn-hangzhou.aliyuncs.com',
    ],
  ],
  [
    'registry-vpc.cn-shanghai.aliyuncs.com',
    'dockerauth-vpc.cn-shanghai.aliyuncs.com/auth',
    ['dockerauth-vpc.cn-hangzhou.aliyuncs.com'],
  ],
  [
    'corp-registry.cn-beijing.cr.aliyuncs.com',
    'dockerauth-ee.cn-beijing.aliyuncs.com/auth',
    ['evil-registry.cn-beijing.cr.aliyuncs.com', 'dockerauth-ee.cn-beijing.aliyuncs.com.evil.cn'],
  ],
  [
    'registry.gitlab.com',
    'gitlab.com/jwt/auth',
    ['gitlab.com.evil.com', 'evilgitlab.com', 'gitlab.io', 'evil.gitlab.io', 'registry-gitlab.com'],
  ],
  [
    'harbor.corp.example',
    'harbor.corp.example/service/token',
    ['harbor.corp.example.evil.com', 'evilcorp.example', 'harbor-corp.example'],
  ],
  [
    'ccr.ccs.tencentyun.com',
    'ccr.ccs.tencentyun.com/service/token',
    ['evil.ccs.tencentyun.com', 'ccs.tencentyun.com', 'ccr.ccs.tencentyun.com.evil.cn'],
  ],
  [
    'corp.azurecr.io',
    'corp.azurecr.io/oauth2/token',
    ['evil.azurecr.io', 'corp.azurecr.io.evil.com', 'corpazurecr.io', 'azurecr.io', 'corp.evil.azurecr.io'],
  ],
  [
    '111122223333.dkr.ecr.eu-west-1.amazonaws.com',
    '111122223333.dkr.ecr.eu-west-1.amazonaws.com/',
    [
      '999988887777.dkr.ecr.eu-west-1.amazonaws.com',
      'evil.s3.amazonaws.com',
      'evil.s3.eu-west-1.amazonaws.com',
      'ec2-1-2-3-4.eu-west-1.compute.amazonaws.com',
      '111122223333.dkr.ecr.eu-west-1.amazonaws.com.evil.com',
    ],
  ],
  ['gcr.io', 'gcr.io/v2/token', ['gcr.io.evil.com', 'evilgcr.io', 'gcr.run.app', 'evil.run.app']],
  [
    'us-docker.pkg.dev',
    'us-docker.pkg.dev/v2/token',
    ['us-docker.pkg.dev.evil.com', 'evilpkg.dev', 'docker.pages.dev'],
  ],
  ['corp.jfrog.io', 'corp.jfrog.io/artifactory/api/docker/docker/v2/token', ['evil.jfrog.io']],
  ['registry.corp.co.uk', 'auth.corp.co.uk/token', ['evil.co.uk', 'co.uk']],
];

describe.each(known)('%s', (registry, realm, lookalikes) => {
  const judge = (text: string) => judgeRealm(text, new URL(`https://${registry}`), []).kind;

  it(`gets its token from ${realm}, over https only`, () => {
    expect(judge(`https://${realm}`)).toBe('allowed');
    expect(judge(`https://${realm}`.toUpperCase())).toBe('allowed');
    expect(judge(`http://${realm}`)).toBe('refused');
  });

  it.each(lookalikes)('sends nothing to %s', (lookalike) => {
    expect(judge(`https://${lookalike}/token`)).toBe('refused');
    expect(judge(`https://${realm.split('/')[0]}@${lookalike}/token`)).toBe('refused');
  });
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
