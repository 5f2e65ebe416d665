const standardPrefix = 'whsec_';

/** What a webhook signs with: of the form `whsec_<base64>` the bytes that it stands for, else those of the text. */
export function signingKeyOf(secret: string): Buffer {
  return secret.startsWith(standardPrefix) ? Buffer.from(secret.slice(standardPrefix.length), 'base64') : Buffer.from(secret, 'utf8');
}
