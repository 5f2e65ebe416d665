import http from 'node:http';
import { createRequire } from 'node:module';

/** Descriptions of images, containers and of the engine itself; lists of everything on a busy machine. */
const answerBytesMax = 32 * 1024 * 1024;
/** Go on for as long as what they tell of. */
const streams = /\/(?:images\/create|containers\/[^/]+\/(?:logs|wait|attach|stats))(?:\?|$)/;

type HttpOfModem = { http: { request: (options: http.RequestOptions) => http.ClientRequest } };

/**
 * Dockerode's own HTTP goes wherever a redirect sends it, with nobody who hears of an error there: whoever answers in
 * the place of a Docker Engine could end this process, or have it ask other machines. And it holds answers of any
 * length in memory. It offers no option for either, so its one function is replaced; to be called before it is used.
 */
export function guardDockerHttp(): void {
  const requireOfDockerode = createRequire(createRequire(import.meta.url).resolve('dockerode'));
  const modem = requireOfDockerode('docker-modem/lib/http') as HttpOfModem;
  modem.http = { request };
}

function request(options: http.RequestOptions): http.ClientRequest {
  const sent = http.request(options);
  if (streams.test(options.path ?? '')) return sent;
  return sent.once('response', (answer) => {
    let left = answerBytesMax;
    answer.on('data', (chunk: Buffer) => {
      left -= chunk.length;
      if (left < 0) sent.destroy(new Error(`the answer of the Docker Engine is longer than ${answerBytesMax} bytes`));
    });
  });
}
