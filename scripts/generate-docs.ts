/** Writes the documentation that is made from the code: docs/openapi.json and the reference of the settings; --check only compares. */
import { readFile, writeFile } from 'node:fs/promises';
import { describeRest } from '../src/adapters/rest/create-rest.ts';

const openApiFile = new URL('../docs/openapi.json', import.meta.url);
const { version } = JSON.parse(await readFile(new URL('../package.json', import.meta.url), 'utf8')) as { version: string };
const openApi = `${JSON.stringify(describeRest(version), null, 2)}\n`;

if (process.argv.includes('--check')) {
  if ((await readFile(openApiFile, 'utf8')) !== openApi) {
    console.error('docs/openapi.json is not up to date: npm run generate');
    process.exitCode = 1;
  }
} else {
  await writeFile(openApiFile, openApi);
  console.log('Written: docs/openapi.json');
  await import('./generate-config-docs.ts');
}
