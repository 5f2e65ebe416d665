/** Writes what is generated from the settings: `.env.example` and the JSON Schema of `config.yaml`. */
import { writeFile } from 'node:fs/promises';
import { renderConfigSchema, renderEnvExample } from '../src/infrastructure/config/reference.ts';

await writeFile(new URL('../.env.example', import.meta.url), renderEnvExample());
await writeFile(new URL('../schema/config.schema.json', import.meta.url), renderConfigSchema());
console.log('Written: .env.example, schema/config.schema.json');
