/** Mistakes that a machine finds in the page and its tests; what looks good is left to people. */

import js from '@eslint/js';
import globals from 'globals';

export default [
  js.configs.recommended,
  {
    linterOptions: { reportUnusedDisableDirectives: 'error' },
    rules: {
      eqeqeq: 'error',
      'no-console': 'error',
      'no-implicit-globals': 'error',
      'no-var': 'error',
      'prefer-const': 'error',
      'require-await': 'error',
    },
  },
  { files: ['*.js'], languageOptions: { globals: globals.browser } },
  { files: ['theme.js'], languageOptions: { sourceType: 'script' } },
  // Tests run in Node, and the functions that they hand to a page run there.
  { files: ['test/**'], languageOptions: { globals: { ...globals.node, ...globals.browser } } },
];
