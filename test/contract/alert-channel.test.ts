import { createLogChannel } from '../../src/domains/system/alerts/channels/log-channel.ts';
import { createWebhookChannel } from '../../src/domains/system/alerts/channels/webhook-channel.ts';
import { createOutgoingHttp } from '../../src/infrastructure/http/outgoing-http.ts';
import { guardAlertChannel } from '../../src/plugins/guard-alert-channel.ts';
import { createRecordingLogger } from '../support/recording-logger.ts';
import { silentLogger } from '../support/silent-logger.ts';
import { startWebhookReceiver } from '../support/webhook-receiver.ts';
import { describeAlertChannel, type ChannelWorld } from './alert-channel.contract.ts';

describeAlertChannel('log', () => {
  const logger = createRecordingLogger();
  return Promise.resolve({ channel: createLogChannel(logger), arrived: async () => logger.records.map(({ fields }) => String(fields['deliveryId'])), close: async () => {} });
});

async function openWebhook(): Promise<ChannelWorld> {
  const [receiver, http] = [await startWebhookReceiver(), createOutgoingHttp({ userAgent: 'test' })];
  return {
    channel: createWebhookChannel({ url: receiver.url, secret: 'a-secret-of-the-operator', http: http.request, nowSeconds: () => Date.now() / 1000 }),
    arrived: async () => receiver.received.map(({ headers }) => String(headers['webhook-id'])),
    breakPlace: async () => void (receiver.mode = 'fail'),
    mendPlace: async () => void (receiver.mode = 'accept'),
    secrets: ['of-the-receiver', 'a-secret-of-the-operator'],
    close: async () => {
      await http.close();
      await receiver.close();
    },
  };
}

describeAlertChannel('webhook', openWebhook);

describeAlertChannel('webhook, guarded as one of a plug-in is', async () => {
  const world = await openWebhook();
  return { ...world, channel: guardAlertChannel(world.channel, silentLogger) };
});
