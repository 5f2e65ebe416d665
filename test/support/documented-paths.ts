/** Every path of the REST interface that is documented, below `/api`. */
export const documentedPaths = [
  '/models/search', '/models/{model_id}/info', '/models/categories',
  '/downloads/start', '/downloads/{task_id}/pause', '/downloads/{task_id}/resume', '/downloads/{task_id}', '/downloads/{task_id}/status', '/downloads/list',
  '/deployments/start', '/deployments/{deployment_id}/stop', '/deployments/{deployment_id}/restart', '/deployments/list', '/deployments/{deployment_id}/status', '/deployments/{deployment_id}/logs',
  '/system/resources', '/chat/sessions/create', '/chat/send', '/chat/history/{session_id}', '/chat/sessions/{session_id}', '/chat/export/{session_id}', '/openapi.json',
];
