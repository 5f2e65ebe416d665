import { z } from 'zod';
import type { Setting } from './setting.ts';
import { settings } from './settings.ts';

const allSettings: readonly Setting<unknown>[] = Object.values(settings);

/** The text of `.env.example`: every variable with its meaning and default, none of them set. */
export function renderEnvExample(): string {
  const blocks = allSettings.flatMap(({ env, description, defaultText }) => (env === undefined ? [] : [`# ${description}\n# Default: ${defaultText}\n# ${env}=\n`]));
  return `# Settings of llm-manager. Copy to .env and set what should differ.\n# Made by scripts/generate-config-docs.ts.\n\n${blocks.join('\n')}`;
}

type SchemaNode = { type: 'object'; additionalProperties: false; properties: Record<string, unknown> };

/** JSON Schema of `config.yaml`, for editors. */
export function renderConfigSchema(): string {
  const root = { $schema: 'https://json-schema.org/draft/2020-12/schema', title: 'llm-manager config.yaml', ...emptyNode() };
  for (const { path, schema, description, defaultText, env } of allSettings) {
    const keys = path.split('.');
    const last = keys.pop() ?? '';
    const parent = keys.reduce<SchemaNode>((node, key) => {
      const child = (node.properties[key] ??= emptyNode());
      return child as SchemaNode;
    }, root);
    const { $schema: _draft, ...value } = z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' });
    parent.properties[last] = { description: `${description} Default: ${defaultText}.${env === undefined ? '' : ` Environment: ${env}.`}`, ...value };
  }
  return `${JSON.stringify(root, null, 2)}\n`;
}

function emptyNode(): SchemaNode {
  return { type: 'object', additionalProperties: false, properties: {} };
}
