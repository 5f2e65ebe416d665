import { describe, expect, it } from '@jest/globals';
import { apiVersions, parseVersion, versionHeaders, type ApiVersions } from '../../../src/adapters/rest/versions.ts';

const versions: ApiVersions = {
  '1': { deprecatedAt: new Date('2027-01-02T03:04:05.678Z'), sunsetAt: new Date('2027-07-01T00:00:00Z') },
  '2': { deprecatedAt: null, sunsetAt: null },
};

describe('the version of a path', () => {
  it('is the current one unless the path pins one', () => {
    expect(parseVersion('/api/models/search', apiVersions)).toEqual({ version: '1', path: '/models/search' });
    expect(parseVersion('/api/v1/models/search', apiVersions)).toEqual({ version: '1', path: '/models/search' });
    expect(parseVersion('/api/v1', apiVersions)).toEqual({ version: '1', path: '' });
  });

  it.each(['/api/v2/models/search', '/api/v0/x', '/api/v01/x', '/api/v1beta/x', '/api/v99999999999999999999'])('is unknown in %s', (path) => {
    expect(() => parseVersion(path, apiVersions)).toThrow(expect.objectContaining({ code: 'UNKNOWN_API_VERSION' }));
  });

  it('is not read into a name that merely begins with v', () => {
    expect(parseVersion('/api/variants', apiVersions)).toEqual({ version: '1', path: '/variants' });
  });
});

describe('the headers of a version', () => {
  it('are its number alone while it is current', () => {
    expect(versionHeaders('2', versions)).toEqual({ 'api-version': '2' });
  });

  it('announce the end of a retired one as RFC 9745 and RFC 8594 write dates', () => {
    expect(versionHeaders('1', versions)).toEqual({ 'api-version': '1', deprecation: '@1798859045', sunset: 'Thu, 01 Jul 2027 00:00:00 GMT' });
  });
});
