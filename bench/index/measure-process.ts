import { readFileSync } from 'node:fs';
import type { Landmarks } from './generate.ts';
import { measure } from './measure.ts';
import { openSubject } from './subject.ts';

// Started with an index and what is remarkable in it; prints the figures as JSON.
const [file = '', landmarks = ''] = process.argv.slice(2);
const opening = performance.now();
const subject = openSubject(file);
const opened = performance.now() - opening;
const figures = await measure(subject, JSON.parse(readFileSync(landmarks, 'utf8')) as Landmarks);
await subject.close();
const again = performance.now();
await openSubject(file).close();
const reopened = performance.now() - again;
process.stdout.write(JSON.stringify({ opened, reopened, figures, memory: process.memoryUsage().rss }));
