import { createHash, createPrivateKey, createPublicKey, type KeyObject, sign, verify } from 'node:crypto';
import { largestContents, memberNames } from './bundle-contents.ts';
import { BundleError } from './bundle-error.ts';
import { TarReader } from './tar-read.ts';
import { tarHead, tarMemberSize, tarPadding } from './tar-write.ts';

/** Bytes of a signature's file. */
export const largestSignature = 4096;

/**
 * Reads a private key for signing, in PEM.
 * @throws BundleError `BUNDLE_SIGNATURE` when it is not an ed25519 key
 */
export function readSigningKey(pem: string): KeyObject {
  return readKey(() => createPrivateKey(pem), 'private');
}

/**
 * Reads a public key, in PEM or as the base64 of its SubjectPublicKeyInfo.
 * @throws BundleError `BUNDLE_SIGNATURE` when it is not an ed25519 key
 */
export function readVerifyKey(text: string): KeyObject {
  return readKey(() => {
    if (text.includes('-----')) return createPublicKey(text);
    return createPublicKey({ key: Buffer.from(text, 'base64'), format: 'der', type: 'spki' });
  }, 'public');
}

/** The base64 of a public key's SubjectPublicKeyInfo, as {@link readVerifyKey} reads it. */
export function verifyKeyText(key: KeyObject): string {
  return key.export({ format: 'der', type: 'spki' }).toString('base64');
}

/** The bytes of `entrepot/contents.sig`: an ed25519 signature over `entrepot/contents.json`, and the public key. */
function signatureFile(contents: Buffer, key: KeyObject): Buffer {
  const publicKey = verifyKeyText(createPublicKey(key));
  return encodeSignature(publicKey, sign(null, contents, key).toString('base64'));
}

/**
 * Checks a signature's file. Without `trusted` the signature must be right, whoever made it; with it, by that key.
 * @returns the fingerprint of the key that signed
 * @throws BundleError `BUNDLE_SIGNATURE`
 */
export function checkSignature(contents: Buffer, file: Buffer, trusted: KeyObject | undefined): string {
  const { publicKey, signature } = parseSignature(file);
  const key = readVerifyKey(publicKey);
  if (!verify(null, contents, key, Buffer.from(signature, 'base64'))) {
    throw new BundleError(
      'BUNDLE_SIGNATURE',
      'the signature is wrong: the contents are not those that were signed',
    );
  }
  const signer = fingerprint(key);
  if (trusted !== undefined && !trusted.equals(key)) {
    throw new BundleError(
      'BUNDLE_SIGNATURE',
      `the bundle is signed by another key: ${signer}; the key given is ${fingerprint(trusted)}`,
    );
  }
  return signer;
}

/** How a key is told from another: the sha256 of its SubjectPublicKeyInfo. */
function fingerprint(key: KeyObject): string {
  return `SHA256:${createHash('sha256')
    .update(Buffer.from(verifyKeyText(key), 'base64'))
    .digest('base64url')}`;
}

/** What the signature's member adds to a bundle, in bytes: always the same. */
export const signatureSize: number = tarMemberSize({
  name: memberNames.signature,
  size: encodeSignature('x'.repeat(60), 'x'.repeat(88)).length,
});

/**
 * Puts a signature into a bundle while it passes, right after its contents, so that a private key need not leave the
 * process that reads it.
 */
export async function* signed(
  bundle: AsyncIterable<Uint8Array>,
  key: KeyObject,
): AsyncGenerator<Uint8Array, void, undefined> {
  const pieces = bundle[Symbol.asyncIterator]();
  const seen: Buffer[] = [];
  async function* tapped(): AsyncGenerator<Uint8Array, void, undefined> {
    for (let next = await pieces.next(); next.done !== true; next = await pieces.next()) {
      seen.push(Buffer.from(next.value));
      yield next.value;
    }
  }
  try {
    const reader = new TarReader(tapped());
    for (;;) {
      const entry = await reader.next();
      if (entry === undefined) throw new Error('a bundle without contents cannot be signed');
      if (entry.name !== memberNames.contents) continue;
      const contents = await reader.readWhole(largestContents);
      const file = signatureFile(contents, key);
      const at = reader.offset + tarPadding(contents.length).length;
      let head = Buffer.concat(seen);
      while (head.length < at) {
        const { value, done } = await pieces.next();
        if (done === true) throw new Error('a bundle that ends with its contents cannot be signed');
        head = Buffer.concat([head, value]);
      }
      const member = { name: memberNames.signature, size: file.length };
      yield Buffer.concat([head.subarray(0, at), tarHead(member), file, tarPadding(file.length)]);
      yield head.subarray(at);
      break;
    }
    for (let next = await pieces.next(); next.done !== true; next = await pieces.next()) yield next.value;
  } finally {
    await pieces.return?.();
  }
}

function readKey(read: () => KeyObject, kind: 'private' | 'public'): KeyObject {
  let key: KeyObject | undefined;
  try {
    key = read();
  } catch (cause) {
    throw new BundleError('BUNDLE_SIGNATURE', `this is no ${kind} key that can be read: give one in PEM`, {
      cause,
    });
  }
  if (key.asymmetricKeyType === 'ed25519') return key;
  throw new BundleError(
    'BUNDLE_SIGNATURE',
    `the key must be an ed25519 one, this is ${key.asymmetricKeyType}: openssl genpkey -algorithm ed25519`,
  );
}

function encodeSignature(publicKey: string, signature: string): Buffer {
  return Buffer.from(`${JSON.stringify({ algorithm: 'ed25519', publicKey, signature }, undefined, 1)}\n`);
}

function parseSignature(file: Buffer): { publicKey: string; signature: string } {
  try {
    const { publicKey, signature } = JSON.parse(file.toString('utf8')) as Record<string, unknown>;
    if (typeof publicKey === 'string' && typeof signature === 'string') {
      // Nothing that is written otherwise is taken for the same: a byte that changed shows.
      const plain = [publicKey, signature].every(
        (text) => Buffer.from(text, 'base64').toString('base64') === text,
      );
      if (plain && encodeSignature(publicKey, signature).equals(file)) return { publicKey, signature };
    }
  } catch {
    // What is not JSON is as malformed as what is other JSON.
  }
  throw new BundleError('BUNDLE_SIGNATURE', `${memberNames.signature} is damaged: copy the bundle again`);
}
