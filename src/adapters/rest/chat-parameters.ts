import type * as z from 'zod';
import type { ChatParametersInput } from '../../../schema/generated/graphql.ts';
import { toCamelCase } from '../../shared/json-case.ts';
import { toEnum } from '../../shared/json-view.ts';
import type { chatParameters } from './request-schemas.ts';

/** Sampling parameters as the operation documents take them. */
export function toParameters(parameters: z.output<typeof chatParameters> | undefined): ChatParametersInput | undefined {
  if (!parameters) return undefined;
  const { responseFormat, ...rest } = toCamelCase(parameters);
  return { ...rest, ...(responseFormat && { responseFormat: { ...responseFormat, type: toEnum(responseFormat.type) } }) };
}
