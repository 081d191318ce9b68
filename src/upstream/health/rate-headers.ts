/** What an answer says about the budget of requests; what it does not say is `undefined`. Times in seconds. */
export type RateNotice = {
  readonly limit: number | undefined;
  readonly remaining: number | undefined;
  /** The length of the window that the limit is for. */
  readonly window: number | undefined;
  /** When the window ends, from now. */
  readonly reset: number | undefined;
};

type Item = { readonly name: string | undefined; readonly parameters: ReadonlyMap<string, number> };

const longestHeader = 1000;
const longestWindow = 31 * 24 * 60 * 60;

/** What is larger is a date (seconds since the Unix epoch), not a number of seconds from now. */
const firstDate = 1_000_000_000;

/**
 * Reads the budget that an answer's headers (lower-cased names) declare; `undefined` when they declare none. Known
 * are `RateLimit-Limit: 100;w=21600` with `RateLimit-Remaining` (Docker Hub), `RateLimit` and `RateLimit-Policy`
 * (draft-ietf-httpapi-ratelimit-headers, both of its forms), and `X-RateLimit-*`. Never throws.
 * @param now milliseconds since the Unix epoch
 */
export function parseRateHeaders(
  headers: Readonly<Record<string, string>>,
  now: number,
): RateNotice | undefined {
  const combined = itemsOf(headers['ratelimit']);
  const notice = combined.length > 0 ? fromCombined(combined, headers) : fromSingle(headers, now);
  return notice.limit === undefined && notice.remaining === undefined ? undefined : notice;
}

function fromCombined(items: readonly Item[], headers: Readonly<Record<string, string>>): RateNotice {
  const flat = new Map(items.flatMap(({ parameters }) => [...parameters]));
  const policies = itemsOf(headers['ratelimit-policy']);
  if (flat.has('remaining') || flat.has('limit')) {
    return {
      limit: flat.get('limit') ?? numberOf(policies[0]?.name),
      remaining: flat.get('remaining'),
      window: windowOf(policies[0]?.parameters.get('w')),
      reset: windowOf(flat.get('reset')),
    };
  }
  const [scarcest] = items.toSorted((a, b) => scarcity(a) - scarcity(b));
  const policy = policies.find(({ name }) => name === scarcest?.name) ?? policies[0];
  return {
    limit: policy?.parameters.get('q') ?? numberOf(policy?.name),
    remaining: scarcest?.parameters.get('r'),
    window: windowOf(policy?.parameters.get('w')),
    reset: windowOf(scarcest?.parameters.get('t')),
  };
}

function fromSingle(headers: Readonly<Record<string, string>>, now: number): RateNotice {
  const first = (suffix: string): Item | undefined => {
    return itemsOf(headers[`ratelimit-${suffix}`] ?? headers[`x-ratelimit-${suffix}`])[0];
  };
  const limit = first('limit');
  const remaining = first('remaining');
  const reset = numberOf(first('reset')?.name);
  const policy = itemsOf(headers['ratelimit-policy'])[0];
  return {
    limit: numberOf(limit?.name),
    remaining: numberOf(remaining?.name),
    window: windowOf(
      remaining?.parameters.get('w') ?? limit?.parameters.get('w') ?? policy?.parameters.get('w'),
    ),
    reset: windowOf(reset !== undefined && reset >= firstDate ? fromDate(reset, now) : reset),
  };
}

/** A list of items with parameters (RFC 9651, section 3.1), read leniently; parameters that are no numbers are left out. */
function itemsOf(value: string | undefined): readonly Item[] {
  if (value === undefined || value.length > longestHeader) return [];
  return value.split(',').map((item) => {
    const parameters = new Map<string, number>();
    let name: string | undefined;
    for (const part of item.split(';')) {
      const [key = '', text] = part.split('=', 2).map((side) => side.trim());
      const number = numberOf(text);
      if (text === undefined) name ??= key.replaceAll('"', '');
      else if (number !== undefined) parameters.set(key.toLowerCase(), number);
    }
    return { name, parameters };
  });
}

function scarcity({ parameters }: Item): number {
  return parameters.get('r') ?? Number.MAX_SAFE_INTEGER;
}

function numberOf(text: string | undefined): number | undefined {
  return text !== undefined && /^[0-9]{1,15}$/.test(text) ? Number(text) : undefined;
}

function windowOf(seconds: number | undefined): number | undefined {
  return seconds === undefined ? undefined : Math.min(seconds, longestWindow);
}

function fromDate(seconds: number, now: number): number {
  // Some say milliseconds.
  const at = seconds >= firstDate * 1000 ? seconds : seconds * 1000;
  return Math.max(0, Math.ceil((at - now) / 1000));
}
