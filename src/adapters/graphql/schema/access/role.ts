import type { Role as RoleName } from '../../../../shared/principal.ts';
import { enumOf } from '../../enums.ts';

export const Role = enumOf<RoleName>('Role', 'What a key may do; each role may do what the ones after it may.', {
  ADMIN: 'Everything.',
  OPERATOR: 'Downloads, deployments and chat.',
  USER: 'Read, and chat of its own.',
  VIEWER: 'Read.',
});
