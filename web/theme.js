/**
 * Light or dark: the system's choice until the button says otherwise, then this tab's.
 *
 * A plain script in the head, so that the page is never painted in the wrong colours first. The
 * choice is kept in sessionStorage: it ends with the tab, like everything else here.
 */

{
  const KEY = 'theme';
  const system = matchMedia('(prefers-color-scheme: dark)');

  const chosen = () => {
    try {
      return sessionStorage.getItem(KEY);
    } catch {
      return null; // Storage is switched off in this browser: the system's choice then.
    }
  };

  const choose = (theme) => {
    try {
      sessionStorage.setItem(KEY, theme);
    } catch {
      // As above: the choice then lasts until the next load.
    }
  };

  const apply = (theme) => {
    document.documentElement.dataset.theme = theme;
    document.getElementById('theme')?.setAttribute('aria-pressed', String(theme === 'dark'));
  };

  const current = () => chosen() ?? (system.matches ? 'dark' : 'light');

  apply(current());
  system.addEventListener('change', () => apply(current()));
  document.addEventListener('DOMContentLoaded', () => {
    apply(current());
    document.getElementById('theme').addEventListener('click', () => {
      const theme = document.documentElement.dataset.theme === 'dark' ? 'light' : 'dark';
      choose(theme);
      apply(theme);
    });
  });
}
