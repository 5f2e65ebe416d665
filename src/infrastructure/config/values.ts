import { z } from 'zod';
import { Secret } from './secret.ts';

/** Schemas of single values. Each takes the environment's text as well as what a YAML file may hold. */

type TextSchema = z.ZodType<string, string>;

const digits = z.string().regex(/^\d{1,15}$/).transform(Number);

export function wholeNumber(min: number, max: number): z.ZodType<number> {
  const message = max === Number.MAX_SAFE_INTEGER ? `must be a whole number, ${min} or more` : `must be a whole number from ${min} to ${max}`;
  return z.union([z.number(), digits], { error: message }).pipe(z.number().int(message).min(min, message).max(max, message));
}

export function text(): TextSchema {
  return z.string({ error: 'must be text' }).min(1, 'must not be empty');
}

export function oneOf<const Values extends readonly [string, ...string[]]>(values: Values): z.ZodType<Values[number]> {
  return z.enum(values, { error: `must be one of ${values.join(', ')}` });
}

/** Comma-separated in the environment, a list in YAML. */
export function list(item: TextSchema = text()): z.ZodType<string[]> {
  const parts = z.string().transform((value) => value.split(',').map((part) => part.trim()).filter((part) => part !== ''));
  return z.union([z.array(z.string()), parts], { error: 'must be a list' }).pipe(z.array(item));
}

export function httpUrl(): TextSchema {
  const message = 'must be a URL that begins with http:// or https://';
  return z.string({ error: message }).transform((value, context) => {
    const url = URL.parse(value);
    if (url && /^https?:$/.test(url.protocol) && url.username === '' && url.password === '' && url.search === '' && url.hash === '') {
      return url.href.replace(/\/+$/, '');
    }
    context.addIssue({ code: 'custom', message: url?.username || url?.password ? 'must not carry a user name or password' : message });
    return z.NEVER;
  });
}

/** scheme://host[:port], as browsers send it. */
export function origin(): TextSchema {
  return httpUrl().refine((value) => URL.parse(value)?.origin === value, 'must be an origin such as https://example.org, without a path');
}

/** A URL of one of `protocols` that may carry a password. */
export function secretUrl(...protocols: readonly string[]): z.ZodType<Secret> {
  const message = `must be a URL that begins with ${protocols.map((protocol) => `${protocol}//`).join(' or ')}`;
  return z
    .string({ error: message })
    .refine((value) => protocols.includes(URL.parse(value)?.protocol ?? ''), message)
    .transform((value) => new Secret(value));
}

/** An http URL that may hold a token in its path or query, as those of chat services do, but no user name. */
export function secretHttpUrl(): z.ZodType<Secret> {
  const message = 'must be a URL that begins with http:// or https://, without a user name or password';
  return z
    .string({ error: message })
    .refine((value) => {
      const url = URL.parse(value);
      return url !== null && /^https?:$/.test(url.protocol) && url.username === '' && url.password === '' && url.hash === '';
    }, message)
    .transform((value) => new Secret(value));
}

export function secretText(accepts: (value: string) => boolean, message: string): z.ZodType<Secret> {
  return z.string({ error: message }).refine(accepts, message).transform((value) => new Secret(value));
}
