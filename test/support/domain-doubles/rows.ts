import type { ModelDetail } from '../../../src/domains/catalog/types.ts';
import type { ChatMessageView, ChatSessionView } from '../../../src/domains/chat/types.ts';
import type { DeploymentView } from '../../../src/domains/deployments/types.ts';
import type { DownloadTaskView } from '../../../src/domains/downloads/types.ts';
import type { ResourcesSample } from '../../../src/shared/resources-sample.ts';

const digest = 'a'.repeat(64);

function idOf(kind: number, index: number): string {
  return `01900000-0000-7000-8${String(kind).padStart(3, '0')}-${String(index).padStart(12, '0')}`;
}

export function modelRow(index: number): ModelDetail {
  return {
    id: `huggingface:acme/model-${index}`,
    source: 'huggingface',
    name: `acme/model-${index}`,
    author: 'acme',
    displayName: `Model ${index}`,
    description: null,
    category: 'chat',
    tags: ['tiny'],
    license: null,
    parameters: 7_000_000_000,
    sizeBytes: 5_000_000_000,
    formats: ['gguf'],
    quantizations: ['Q4_K_M'],
    contextLength: 8192,
    downloads: 3_000_000_000,
    likes: 1,
    gated: false,
    createdAt: '2026-01-01T00:00:00Z',
    updatedAt: null,
    url: null,
    revision: 'c'.repeat(40),
    readmeMarkdown: '# Hello',
    readmeText: 'Hello',
    architecture: 'llama',
    files: [{ path: 'model.gguf', sizeBytes: 5_000_000_000, sha256: `sha256:${digest}`, gitSha1: null, format: 'gguf', securityStatus: null }],
    variants: [{ name: 'Q4_K_M', format: 'gguf', quantization: 'Q4_K_M', files: ['model.gguf'], sizeBytes: 5_000_000_000, fit: null, recommended: true }],
    securityStatus: null,
  };
}

export function downloadRow(index: number): DownloadTaskView {
  return {
    id: idOf(1, index),
    modelId: `huggingface:acme/model-${index}`,
    revision: null,
    variant: 'Q4_K_M',
    target: 'local',
    status: index === 0 ? 'running' : 'completed',
    queuePosition: null,
    priority: 0,
    maxBytesPerSecond: null,
    override: [],
    totalBytes: 5_000_000_000,
    downloadedBytes: 100,
    progress: 0.5,
    speedBytesPerSecond: 10.5,
    etaSeconds: 3.5,
    attempt: 1,
    error: null,
    files: [{ path: 'model.gguf', sizeBytes: 5_000_000_000, downloadedBytes: 100, status: 'running', sha256: digest, scan: null }],
    createdAt: new Date('2026-01-01T00:00:00Z'),
    startedAt: null,
    finishedAt: null,
  };
}

export function deploymentRow(index: number): DeploymentView {
  return {
    id: idOf(2, index),
    name: `model-${index}`,
    modelId: `huggingface:acme/model-${index}`,
    variant: null,
    installedModelId: null,
    runtime: 'llama-cpp',
    status: 'running',
    desiredStatus: 'running',
    config: { environment: { OMP_NUM_THREADS: '2' }, restart: { policy: 'on_failure' } },
    endpoint: 'http://127.0.0.1:1',
    health: { status: 'healthy', checkedAt: null, consecutiveFailures: 0, message: null },
    resources: { cpuPercent: null, memoryBytes: null, gpuMemoryBytes: null },
    restarts: 0,
    runs: 1,
    lastExit: null,
    error: null,
    createdAt: new Date(0),
    startedAt: null,
  };
}

export function sessionRow(): ChatSessionView {
  return { id: idOf(3, 0), title: 'Talk', owner: 'somebody', systemPrompt: null, parameters: {}, deploymentIds: [idOf(2, 0)], messageCount: 2, createdAt: new Date(0), updatedAt: new Date(0) };
}

export function messageRow(index: number): ChatMessageView {
  return {
    id: idOf(4, index),
    sessionId: idOf(3, 0),
    parentId: index === 0 ? null : idOf(4, index - 1),
    role: index % 2 === 0 ? 'user' : 'assistant',
    content: `text ${index}`,
    deploymentId: index % 2 === 0 ? null : idOf(2, 0),
    modelId: null,
    status: 'completed',
    parameters: { temperature: 0.5 },
    usage: null,
    finishReason: null,
    error: null,
    createdAt: new Date(0),
    finishedAt: null,
  };
}

export function resourcesRow(): ResourcesSample {
  return {
    cpu: { model: 'cpu', cores: 2, percent: 1, loadAverage: [0, 0, 0] },
    memory: { totalBytes: 2 ** 34, availableBytes: 2 ** 33, usedBytes: 2 ** 33, swapTotalBytes: 0, swapUsedBytes: 0 },
    disks: [],
    gpus: [],
    network: null,
    process: { pid: 1, uptimeSeconds: 1, memoryBytes: 1, cpuPercent: 0, openFiles: null, eventLoopDelayMs: 0 },
    deployments: [],
    collectedAt: '2026-01-01T00:00:00.000Z',
  };
}
