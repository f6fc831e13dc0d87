// Keeps the page up to date. Without this file the page says the same, as of when it was loaded.
'use strict';

(() => {
  const live = document.getElementById('live');
  const state = document.getElementById('state');
  const news = document.getElementById('news');
  const AGAIN = 10_000;
  let polls = 0;

  // What the state line is about: 'live', 'waits' for the stream to come back, or 'asks' every so often.
  const say = (kind, text) => {
    if (state.dataset.state !== kind || state.textContent !== text) {
      state.dataset.state = kind;
      state.textContent = text;
    }
  };
  const clock = (at) => at.slice(11, 19) + ' UTC';
  let shownAt = state.querySelector('time').getAttribute('datetime');

  // Makes `old` say what `fresh` says, changing no more than differs: focus, selection, scroll and what the reader has
  // unfolded stay.
  const adopt = (old, fresh) => {
    if (old.nodeType !== fresh.nodeType || old.nodeName !== fresh.nodeName || old.id !== fresh.id) {
      old.replaceWith(fresh);
      return;
    }
    if (old.nodeType !== Node.ELEMENT_NODE) {
      if (old.nodeValue !== fresh.nodeValue) old.nodeValue = fresh.nodeValue;
      return;
    }
    const isReaders = (name) => old.nodeName === 'DETAILS' && name === 'open';
    for (const { name } of [...old.attributes]) {
      if (!fresh.hasAttribute(name) && !isReaders(name)) old.removeAttribute(name);
    }
    for (const { name, value } of fresh.attributes) {
      if (old.getAttribute(name) !== value && !isReaders(name)) old.setAttribute(name, value);
    }
    // Sections of namespaces that appear or go move the others: each is looked for under its heading.
    const key = (node) => node.getAttribute?.('aria-labelledby') ?? node.id ?? '';
    const kept = new Map();
    for (const child of old.children) if (key(child)) kept.set(key(child), child);
    let at = old.firstChild;
    for (const child of [...fresh.childNodes]) {
      const same = key(child) && kept.get(key(child));
      if (same && same !== at) old.insertBefore(same, at);
      else if (!same && (at === null || (key(at) && key(at) !== key(child)))) {
        old.insertBefore(child, at);
        continue;
      }
      const target = same || at;
      at = target.nextSibling;
      adopt(target, child);
    }
    while (at !== null) {
      const next = at.nextSibling;
      at.remove();
      at = next;
    }
  };

  // A document made by the parser runs nothing and loads nothing.
  const show = (html) => {
    const fresh = new DOMParser().parseFromString(html, 'text/html');
    const page = (fresh.getElementById('live') ?? fresh.body).firstElementChild;
    if (page === null || live.firstElementChild === null) return;
    const before = live.firstElementChild.dataset.news;
    adopt(live.firstElementChild, page);
    const after = live.firstElementChild.dataset.news;
    if (after !== before) news.textContent = after;
    return fresh;
  };

  // The stream was refused: there are too many readers, or a proxy lets none through.
  const ask = async () => {
    try {
      const answer = await fetch(location.href, { cache: 'no-store' });
      if (answer.ok) {
        const fresh = show(await answer.text());
        shownAt = fresh?.querySelector('#state time')?.getAttribute('datetime') ?? shownAt;
        say('asks', `As of ${clock(shownAt)}; asks every 10 s`);
      } else {
        say('waits', `As of ${clock(shownAt)}; the service answers ${answer.status}`);
      }
    } catch {
      say('waits', `As of ${clock(shownAt)}; the service does not answer`);
    }
    polls += 1;
    if (polls % 6 === 0) listen();
    else setTimeout(ask, AGAIN);
  };

  const listen = () => {
    const source = new EventSource(live.dataset.events);
    source.addEventListener('page', (event) => {
      const { at, html } = JSON.parse(event.data);
      shownAt = at;
      show(html);
      say('live', 'Live');
    });
    source.addEventListener('open', () => say('live', 'Live'));
    source.addEventListener('error', () => {
      if (source.readyState === EventSource.CLOSED) {
        setTimeout(ask, polls === 0 ? 1_000 : AGAIN);
      } else {
        // A stream that only came to its end is back within a second or two.
        setTimeout(() => {
          if (source.readyState === EventSource.CONNECTING) {
            say('waits', `As of ${clock(shownAt)}; connecting again`);
          }
        }, 3_000);
      }
    });
    addEventListener('pagehide', () => source.close(), { once: true });
  };
  // A page that the browser took out of its cache has a stream no more.
  addEventListener('pageshow', (event) => { if (event.persisted) location.reload(); });
  listen();
})();
