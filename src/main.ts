#!/usr/bin/env -S node --max-semi-space-size=4
import { Command } from 'commander';
import { addCheck } from './cli/check.ts';
import { addSchema } from './cli/schema.ts';
import { addServe } from './cli/serve.ts';
import { version } from './lib/version.ts';

const program = new Command('entrepot')
  .description(
    'A pull-through caching OCI registry mirror: one download per blob, verified while it streams.',
  )
  .version(version)
  .showHelpAfterError();
addServe(program);
addCheck(program);
addSchema(program);
await program.parseAsync();
