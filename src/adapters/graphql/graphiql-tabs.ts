import {
  ChatStreamDocument,
  DeploymentLogFeedDocument,
  DownloadProgressDocument,
  SearchModelsDocument,
  SendChatMessageDocument,
  StartDeploymentDocument,
  StartDownloadDocument,
  SystemResourcesFeedDocument,
  SystemResourcesNowDocument,
} from '../../../schema/generated/graphql.ts';
import type { GraphiqlTab } from './graphiql.ts';

const exampleModelId = 'huggingface:HuggingFaceTB/SmolLM2-135M-Instruct-GGUF';
const idToFillIn = '<id from the answer before>';

/** The main job in five steps, each ready to run. */
export const graphiqlTabs: readonly GraphiqlTab[] = [
  { documents: [SearchModelsDocument], variables: { query: 'smollm2', format: 'GGUF', first: 10 } },
  { documents: [StartDownloadDocument, DownloadProgressDocument], variables: { input: { modelId: exampleModelId }, taskId: null } },
  { documents: [StartDeploymentDocument, DeploymentLogFeedDocument], variables: { input: { modelId: exampleModelId }, deploymentId: idToFillIn } },
  { documents: [SendChatMessageDocument, ChatStreamDocument], variables: { input: { deploymentIds: [idToFillIn], message: 'Hello!' }, messageId: idToFillIn, after: null } },
  { documents: [SystemResourcesNowDocument, SystemResourcesFeedDocument], variables: { interval: 2 } },
];
