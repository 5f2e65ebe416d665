import type { Logger } from '../../src/shared/logger.ts';

/** For code whose log a test does not look at. */
export const silentLogger: Logger = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {}, child: () => silentLogger };
