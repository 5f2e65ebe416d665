import { GraphQLScalarType } from 'graphql';
import type { StoredError } from '../../../shared/errors.ts';
import { builder } from '../builder.ts';
import {
  jsonOfLiteral,
  parseByteSize,
  parseDateTime,
  parseDigest,
  parseJson,
  parseModelId,
  serializeByteSize,
  serializeDateTime,
  serializeDigest,
} from '../scalars.ts';
import { ErrorCode } from './error-code.ts';

const specifiedByURL = 'https://scalars.graphql.org/andimarek/date-time.html';

builder.addScalarType('DateTime', new GraphQLScalarType({
  name: 'DateTime',
  description: 'A moment, ISO 8601 in UTC.',
  specifiedByURL,
  parseValue: parseDateTime,
  parseLiteral: (node) => parseDateTime(jsonOfLiteral(node, null)),
  serialize: serializeDateTime,
}));

builder.addScalarType('ByteSize', new GraphQLScalarType({
  name: 'ByteSize',
  description: 'A whole number of bytes; a JSON number up to 2^53-1.',
  parseValue: parseByteSize,
  parseLiteral: (node) => parseByteSize(jsonOfLiteral(node, null)),
  serialize: serializeByteSize,
}));

builder.addScalarType('Digest', new GraphQLScalarType({
  name: 'Digest',
  description: '`sha256:` and 64 lower-case hexadecimal digits.',
  parseValue: parseDigest,
  parseLiteral: (node) => parseDigest(jsonOfLiteral(node, null)),
  serialize: serializeDigest,
}));

builder.addScalarType('ModelId', new GraphQLScalarType({
  name: 'ModelId',
  description: '`<source>:<name>`: `huggingface:org/name[@revision]` or `ollama:name[:tag]`. Without a source, `org/name` means huggingface and a bare name ollama.',
  parseValue: parseModelId,
  parseLiteral: (node) => parseModelId(jsonOfLiteral(node, null)),
  serialize: String,
}));

builder.addScalarType('JSON', new GraphQLScalarType({
  name: 'JSON',
  description: 'A JSON value whose shape is free.',
  parseValue: parseJson,
  parseLiteral: (node, variables) => parseJson(jsonOfLiteral(node, variables)),
  serialize: (value) => value,
}));

builder.queryType({ description: 'What can be asked.' });
builder.mutationType({ description: 'What can be done. Each takes one `input`; refusals that a caller is expected to handle are data of the result.' });
builder.subscriptionType({ description: 'What can be followed live.' });

/** Why a task, deployment or message ended badly, or a source did not answer. */
export const Failure = builder.objectRef<StoredError>('Failure').implement({
  description: 'Why something went wrong.',
  fields: (t) => ({
    code: t.field({ type: ErrorCode, description: 'What it is, from the closed list.', resolve: (error) => error.code }),
    message: t.exposeString('message', { description: 'One sentence for a person.' }),
  }),
});
