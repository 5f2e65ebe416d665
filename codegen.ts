import type { CodegenConfig } from '@graphql-codegen/cli';

/** Types the operation documents that REST, WebSocket, CLI and console run. The output needs no build step. */
const config: CodegenConfig = {
  schema: 'schema/schema.graphql',
  documents: 'schema/operations/*.graphql',
  generates: {
    'schema/generated/': {
      preset: 'client',
      presetConfig: { fragmentMasking: false },
      config: {
        documentMode: 'documentNode',
        importExtension: '.ts',
        enumsAsTypes: true,
        useTypeImports: true,
        defaultScalarType: 'unknown',
        scalars: { DateTime: 'string', ByteSize: 'number', Digest: 'string', ModelId: 'string', JSON: 'unknown' },
      },
    },
  },
};

export default config;
