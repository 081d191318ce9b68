/**
 * Splits `IMAGE[:TAG]` as the user wrote it; a colon before the last slash belongs to a port. Nothing is checked: the
 * server says what is wrong with a name.
 */
export function splitTag(text: string): { readonly image: string; readonly tag: string | undefined } {
  const colon = text.lastIndexOf(':');
  if (text.includes('@') || colon <= text.lastIndexOf('/')) return { image: text, tag: undefined };
  return { image: text.slice(0, colon), tag: text.slice(colon + 1) };
}
