/** What an engine needs of the machine; never keys, tokens or addresses of the service. */
const inheritedVariables = [
  'PATH', 'HOME', 'TMPDIR', 'LANG', 'LC_ALL', 'TZ', 'LD_LIBRARY_PATH', 'DYLD_LIBRARY_PATH',
  'CUDA_VISIBLE_DEVICES', 'CUDA_HOME', 'CUDA_PATH', 'HIP_VISIBLE_DEVICES', 'ROCR_VISIBLE_DEVICES', 'GGML_VK_VISIBLE_DEVICES',
  // Where Vulkan's drivers are: the second is what the first is called since loader 1.3.207.
  'VK_ICD_FILENAMES', 'VK_DRIVER_FILES', 'VK_ADD_DRIVER_FILES',
] as const;

/** The whole environment of an engine process: the named variables of the service, and those of the deployment. */
export function engineEnvironment(own: Readonly<Record<string, string>>): Record<string, string> {
  const inherited = inheritedVariables.flatMap((name) => (process.env[name] === undefined ? [] : [[name, process.env[name]] as const]));
  return { ...Object.fromEntries(inherited), ...own };
}
