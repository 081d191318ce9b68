import type { OutboundProxyConfig } from './config.ts';
import type { ConfigProblem } from './problems.ts';
import type { Environment } from './substitute.ts';

/**
 * Reads the proxies of the environment: `HTTPS_PROXY`, `HTTP_PROXY`, `NO_PROXY`, or the same in lower case; upper
 * case wins, an empty variable counts as unset, and an address without a scheme is an http proxy.
 */
export function readOutboundProxy(env: Environment): {
  proxy: OutboundProxyConfig;
  problems: readonly ConfigProblem[];
} {
  const problems: ConfigProblem[] = [];
  const https = proxyUrl('HTTPS_PROXY', env, problems);
  const http = proxyUrl('HTTP_PROXY', env, problems);
  const noProxy = (variable('NO_PROXY', env)?.value ?? '')
    .toLowerCase()
    .split(/[\s,]+/)
    .filter(Boolean);
  return {
    proxy: { ...(https !== undefined && { https }), ...(http !== undefined && { http }), noProxy },
    problems,
  };
}

function proxyUrl(name: string, env: Environment, problems: ConfigProblem[]): string | undefined {
  const found = variable(name, env);
  if (!found) return undefined;
  const text = found.value.includes('://') ? found.value : `http://${found.value}`;
  const url = URL.parse(text);
  if (url && (url.protocol === 'http:' || url.protocol === 'https:')) return url.href;
  problems.push({
    path: `$${found.name}`,
    message: 'must be an http:// or https:// address of a proxy, such as http://proxy.corp:3128',
  });
  return undefined;
}

function variable(name: string, env: Environment): { name: string; value: string } | undefined {
  for (const spelling of [name, name.toLowerCase()]) {
    const value = env[spelling]?.trim();
    if (value !== undefined && value !== '') return { name: spelling, value };
  }
  return undefined;
}
