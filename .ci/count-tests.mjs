// Prints "passed failed" of a vitest JSON report; a skipped test counts as failed, since none may be.
import { readFileSync } from 'node:fs';

const report = JSON.parse(readFileSync(process.argv[2], 'utf8'));
const { numPassedTests, numTotalTests } = report;
process.stdout.write(`${numPassedTests} ${numTotalTests - numPassedTests}\n`);
