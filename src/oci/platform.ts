const pattern = /^[a-z0-9_.-]+\/[a-z0-9_.-]+(?:\/[a-z0-9_.-]+)?$/;

/** Whether `text` has the form `os/architecture[/variant]`. */
export function isPlatformText(text: string): boolean {
  return text.length <= 128 && pattern.test(text);
}

/** Whether a platform is the one wanted, both as text; one wanted without a variant is met by any. */
export function isPlatform(platform: string, wanted: string): boolean {
  return platform === wanted || platform.startsWith(`${wanted}/`);
}
