import tseslint from 'typescript-eslint';

const sizes = {
  'max-lines': ['error', { max: 300, skipBlankLines: true, skipComments: true }],
  'max-lines-per-function': ['error', { max: 50, skipBlankLines: true, skipComments: true, IIFEs: true }],
  'max-params': ['error', 4],
  complexity: ['error', 16],
};

export default tseslint.config(
  { ignores: ['node_modules/**', 'schema/generated/**', 'migrations/**', '.tmp/**', 'coverage/**', 'src/adapters/graphql/public/**'] },
  ...tseslint.configs.strictTypeChecked,
  {
    languageOptions: {
      parserOptions: { projectService: { allowDefaultProject: ['*.js'] }, tsconfigRootDir: import.meta.dirname },
    },
    rules: {
      ...sizes,
      eqeqeq: 'error',
      'no-console': 'error',
      'no-restricted-exports': ['error', { restrictDefaultExports: { direct: true, named: true, defaultFrom: true } }],
      'no-restricted-globals': ['error', { name: 'fetch', message: 'Outgoing requests go through infrastructure/http, which guards hosts and redirects.' }],
      '@typescript-eslint/no-floating-promises': 'error',
      '@typescript-eslint/no-explicit-any': 'error',
      '@typescript-eslint/no-non-null-assertion': 'error',
      '@typescript-eslint/consistent-type-imports': ['error', { fixStyle: 'separate-type-imports' }],
      '@typescript-eslint/switch-exhaustiveness-check': 'error',
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true, allowBoolean: true }],
      '@typescript-eslint/no-confusing-void-expression': ['error', { ignoreArrowShorthand: true, ignoreVoidReturningFunctions: true }],
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_', varsIgnorePattern: '^_' }],
      '@typescript-eslint/unified-signatures': 'off',
      '@typescript-eslint/no-empty-function': 'off',
    },
  },
  {
    // Command-line scripts and benches talk to a person.
    files: ['scripts/**', 'bench/**', 'src/main.ts', 'src/cli/**'],
    rules: { 'no-console': 'off', 'no-restricted-globals': 'off' },
  },
  {
    // A describe() block is a list of cases, not a function with 50 decisions.
    files: ['test/**'],
    rules: {
      'max-lines-per-function': 'off',
      'no-restricted-globals': 'off',
      '@typescript-eslint/no-non-null-assertion': 'off',
      '@typescript-eslint/require-await': 'off',
    },
  },
  { files: ['*.js', 'codegen.ts', 'test/support/global-*.ts'], rules: { 'no-restricted-exports': 'off' } },
  { files: ['**/*.js'], ...tseslint.configs.disableTypeChecked },
);
