/** The least that a proxy in Node can do, in a process of its own: passes everything on to the server whose URL is given. Prints its port. */
import { Agent, createServer, request as send } from 'node:http';
import type { AddressInfo } from 'node:net';

const target = process.argv[2] ?? '';
const agent = new Agent({ keepAlive: true });
const server = createServer((req, res) => {
  const upstream = send(`${target}${req.url ?? ''}`, { method: req.method ?? 'POST', agent, headers: { 'content-type': 'application/json', 'content-length': req.headers['content-length'] } }, (answer) => {
    res.writeHead(answer.statusCode ?? 502, { 'content-type': answer.headers['content-type'] });
    answer.pipe(res);
  });
  upstream.on('error', () => res.destroy());
  req.pipe(upstream);
});
server.listen(0, '127.0.0.1', () => process.stdout.write(`${(server.address() as AddressInfo).port}\n`));
