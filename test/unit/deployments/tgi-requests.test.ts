import { expect, it } from '@jest/globals';
import { toTgiBody } from '../../../src/domains/deployments/runtimes/docker/tgi-requests.ts';

it('says what no value means by leaving it out, and changes nothing that it takes', () => {
  expect(toTgiBody('{"top_p":1,"messages":[]}')).toBe('{"messages":[]}');
  expect(toTgiBody('{"messages":[],"top_p":0}')).toBe('{"messages":[],"top_p":0.000001}');
  for (const body of ['{ "messages": [] }', '{ "top_p": 0.9 }', '{ "top_p": null }', '{"messages":[{"content":"\\"top_p\\": 1"}]}']) expect(toTgiBody(body)).toBe(body);
});
