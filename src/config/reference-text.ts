import { formatDuration } from '../lib/units.ts';

/** What stands before the table of keys. */
export const introduction = `# Configuration

Generated from the schema by \`npm run docs\`: do not edit.

entrepot reads one YAML file: the one \`--config\` names, else the one \`ENTREPOT_CONFIG\` names, else \`config.yaml\` in
the working folder. Without any of them, the defaults below hold. The shipped \`config.yaml\` holds every key with
its default. An unknown key, a key given twice or a wrong value stops the start, and every problem is reported at once
with its line.
`;

/** What stands behind the table: the forms that values have, and what lies outside the file. */
export const values = `## Values

- **duration**: whole numbers with a unit, the largest first: \`250ms\`, \`30s\`, \`5m\`, \`${formatDuration(5_400_000)}\`, \`30d\`. Timeouts are
  longer than \`0s\` (but for \`server.drainDelay\` and \`server.drainTimeout\`) and at most \`24d\`.
- **size**: \`4MiB\`, \`200GiB\` (powers of 1024) or \`10GB\` (powers of 1000).
- **speed**: a size, meant per second: \`20MiB\` is 20 MiB a second.
- **path**: relative to the folder of the configuration file; without a file, to the working folder.
- **host**: lower case, with an optional port.
- **digest**: \`sha256:\` and 64 hexadecimal digits, or \`sha512:\` and 128; lower case.
- **glob**: of images, over \`registry/repository\`: \`*\` stops at a slash, \`**\` does not, \`{a,b}\` is either, \`?\` and \`[a-z]\`
  are one character. \`docker.io/library/*\` is every official image, \`ghcr.io/org/**\` all of an organisation, \`**\` everything.
  A glob that could match nothing (no registry, capitals, a tag in it) is refused.
- **/regex/**: a regular expression of RE2's syntax (as in Go) between two slashes. It matches anywhere in the tag unless it is anchored:
  \`/^v[0-9]+$/\`. RE2 has no look-around and no backreferences, so no expression can be made to take long: write what is not to match as a deny rule before.
- **version range**: as npm writes them: \`^3.10\`, \`~1.2.3\`, \`>=2 <4\`, \`3.x || 5.x\`, \`1.2 - 1.4\`; see below.
- **grants**: a list. \`[pull]\` grants an action (\`pull\`, \`push\`, \`delete\`, \`admin\`) on every image;
  \`{images: ghcr.io/org/**, actions: [pull, push]}\` grants some on some.

Text values may hold, also within other text:

| written | becomes |
|---|---|
| \`\${NAME}\` | the environment variable; an error when it is not set |
| \`\${NAME:-default}\` | the environment variable, or \`default\` when it is unset or empty |
| \`\${file:/path}\` | the content of the file, less one newline at its end |
| \`$\${\` | \`\${\` |

What is filled in is text and is not looked at again: \`true\`, \`false\` and bare numbers cannot be filled in.
Messages never show configured values.

## Which tags are versions

\`semver\` compares a tag as a version:

- One to three numbers, with or without \`v\`: \`3\` is 3.0.0, \`v3.10\` is 3.10.0. A date alone (\`20240131\`) or four numbers are none.
- What follows after \`-\` or \`_\` is a *variant* and does not matter: \`3.12-slim-bookworm\` is 3.12.0, \`1.27-alpine3.20\` is 1.27.0,
  \`0.10.4-full\` is 0.10.4.
- Unless it reads as a pre-release: alpha, beta, rc, pre, dev, nightly, canary, snapshot and the like, with or without a number;
  \`a1\`, \`b2\`; a date; a commit. \`1.2.3-rc1-alpine\` and \`3.13.0rc1\` are pre-releases, and as with npm a range holds one only if it
  names a pre-release of the same version: \`>=1.2.3-rc.0\`.
- Any other tag (\`latest\`, \`bookworm\`, \`8u392\`) is no version, and no range holds it.

## Who is asked for a login

What clients send to a mirror (\`registry-mirrors\`, \`hosts.toml\`) is never answered with a request for a login, since some would answer it
with the user's password for another registry. Direct requests (\`entrepot:5000/ghcr.io/org/app:v1\`) are asked for one when
\`access.anonymous\` does not suffice. \`docker login\` and \`podman login\` look only at \`/v2/\`, which asks for a login on the hosts
of \`access.loginHosts\`, or on every host when both it and \`access.anonymous\` are \`[]\`.

A password never stands in the file, only its bcrypt hash:

\`\`\`yaml
access:
  users:
    ci:
      passwordHash: $2b$10$...
      grants:
        - images: ghcr.io/org/**
          actions: [pull, push]
  loginHosts: [registry.corp.example]
\`\`\`

## Outbound proxy

Upstreams are reached through the proxies of the environment: \`HTTPS_PROXY\` for https upstreams, \`HTTP_PROXY\` for http ones,
except for the hosts of \`NO_PROXY\` (names, \`.suffix\`, addresses, or blocks of addresses such as \`10.0.0.0/8\`, which hold for
upstreams written as addresses). Lower case spellings work too; upper case wins.`;
