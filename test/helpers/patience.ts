/**
 * Milliseconds after which a wait for something that must come is given up: so many that a machine that is busy with
 * other work does not decide a test.
 */
export const patience = 120_000;
