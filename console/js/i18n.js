// Words of the pages in two languages. An element with data-say="key" gets its text from here; code asks say(key).

const WORDS = {
  en: {
    title: "SRS", home: "Start", console: "Console", publish: "Publish", skip: "Skip to the content",
    theme: "Dark or light", language: "中文",
    lead: "A live media server: RTMP in; RTMP, HTTP-FLV, fMP4 and HLS out.",
    watch: "Watching", nobody: "Nobody publishes at the moment. The player begins as soon as somebody does.",
    yours: "Publish your own", yours_lead: "Take OBS, ffmpeg or any encoder that speaks RTMP.",
    server: "Server", key: "Stream key", play_it: "Then it plays at", open_console: "Open the console",
    copy: "Copy", copied: "Copied", all_streams: "Streams that are live",
    streams: "Streams", clients: "Clients", processes: "Processes", events: "What happened",
    no_streams: "No streams.", no_clients: "No clients.", no_events: "Nothing yet. Kill a process and look.",
    stream: "Stream", state: "State", video: "Video", audio: "Audio", viewers: "Viewers", live_for: "Live for",
    tracks: "Tracks", left_out: "Left out",
    rate_in: "In", rate_out: "Out", ring: "Ring", id: "Id", type: "Type", address: "Address", process: "Process",
    alive: "For", sent: "Sent", received: "Received", lag: "Lag", dropped: "Dropped", action: "Action",
    live: "live", waiting: "waiting", kick: "Kick", kicked: "The connection is closed.",
    kick_failed: "It could not be closed: {why}", play: "Play", details: "Details",
    serving: "serving", starting: "starting", draining: "draining", hung: "hung", dead: "dead", out: "out",
    connections: "Connections", total_in: "Received", total_out: "Sent", restarts: "Restarts",
    generation: "Configuration", version: "Version",
    encoders: "encoders", rtmp_viewers: "RTMP viewers", http_viewers: "HTTP clients", management: "management",
    restarted: "{name} was started again (pid {pid}); before it pid {old} ended by {how}",
    ended: "{name} (pid {pid}) has ended", hangs: "{name} (pid {pid}) shows no sign of life",
    drains: "{name} takes nobody more", reloaded: "Configuration {generation} is in force, applied by {applied} of {processes}",
    reload_failed: "A reload was refused: {why}", fate: "{count} connections were cut; encoders and players connect again by themselves", fate_one: "1 connection was cut; its encoder or player connects again by itself",
    restarted_plain: "{name} was started again (pid {pid})",
    api_off: "The management API is off. http_api { enabled on; } in the configuration switches it on.",
    not_there: "Nobody publishes this stream, or its vhost does not serve it this way. It is tried again in a moment.",
    token: "Token", token_lead: "What changes the server needs its token. It is in the file “token” of the server's runtime directory.",
    token_wrong: "That is not the token.", cancel: "Cancel", go_on: "Go on",
    unreachable: "The API does not answer: {why}", not_allowed: "The API answers only on the server's own host, or with the token.",
    give_token: "Give the token",
    player: "Player", kind_mp4: "fMP4", kind_hls: "HLS", kind_flv: "HTTP-FLV", statistics: "Statistics",
    kind_missing: "This browser can't play that.", snapshot: "Newest key frame", renew: "Renew",
    lost: "The connection was lost, again in a moment.", ended_stream: "The stream has ended. The player begins again with the next publish.",
    elsewhere: "This stream is on another server:", urls: "Where it plays",
    obs: "OBS", obs_lead: "Settings, Stream: Service “Custom …”, then", ffmpeg: "ffmpeg", players: "Players",
    vhost: "Vhost", app: "Application", name: "Name", make: "Addresses for", phone: "For a phone",
    latency: "behind live", buffer: "buffer", frames: "frames", dropped_frames: "dropped", rate: "rate",
  },
  zh: {
    title: "SRS", home: "首页", console: "控制台", publish: "推流", skip: "跳到正文",
    theme: "深色或浅色", language: "English",
    lead: "直播服务器：RTMP 推流；RTMP、HTTP-FLV、fMP4、HLS 播放。",
    watch: "正在播放", nobody: "目前没有人推流。一旦有人推流，播放会自动开始。",
    yours: "推送您自己的流", yours_lead: "使用 OBS、ffmpeg 或任何支持 RTMP 的编码器。",
    server: "服务器", key: "串流密钥", play_it: "播放地址", open_console: "打开控制台",
    copy: "复制", copied: "已复制", all_streams: "正在直播的流",
    streams: "流", clients: "客户端", processes: "进程", events: "事件",
    no_streams: "没有流。", no_clients: "没有客户端。", no_events: "还没有事件。结束一个进程试试看。",
    stream: "流", state: "状态", video: "视频", audio: "音频", viewers: "观众", live_for: "已直播",
    tracks: "轨道", left_out: "未包含",
    rate_in: "入", rate_out: "出", ring: "环", id: "编号", type: "类型", address: "地址", process: "进程",
    alive: "时长", sent: "已发送", received: "已接收", lag: "滞后", dropped: "丢弃", action: "操作",
    live: "直播中", waiting: "等待中", kick: "断开", kicked: "连接已断开。",
    kick_failed: "无法断开：{why}", play: "播放", details: "详情",
    serving: "服务中", starting: "启动中", draining: "排空中", hung: "无响应", dead: "已结束", out: "停用",
    connections: "连接", total_in: "已接收", total_out: "已发送", restarts: "重启次数",
    generation: "配置", version: "版本",
    encoders: "编码器", rtmp_viewers: "RTMP 观众", http_viewers: "HTTP 客户端", management: "管理",
    restarted: "{name} 已重新启动（进程号 {pid}）；之前的 {old} 因 {how} 结束",
    ended: "{name}（进程号 {pid}）已结束", hangs: "{name}（进程号 {pid}）没有响应",
    drains: "{name} 不再接受新连接", reloaded: "配置 {generation} 已生效，{applied}/{processes} 个进程已应用",
    reload_failed: "重新加载被拒绝：{why}", fate: "{count} 个连接被切断；编码器和播放器会自行重连", fate_one: "1 个连接被切断；其编码器或播放器会自行重连",
    restarted_plain: "{name} 已重新启动（进程号 {pid}）",
    api_off: "管理 API 未启用。在配置中写 http_api { enabled on; } 即可启用。",
    not_there: "没有人推送此流，或其虚拟主机不以这种方式提供。稍后重试。",
    token: "令牌", token_lead: "更改服务器需要令牌。它在服务器运行目录的 “token” 文件中。",
    token_wrong: "令牌不正确。", cancel: "取消", go_on: "继续",
    unreachable: "API 没有响应：{why}", not_allowed: "API 只在服务器本机响应，或需要令牌。",
    give_token: "输入令牌",
    player: "播放器", kind_mp4: "fMP4", kind_hls: "HLS", kind_flv: "HTTP-FLV", statistics: "统计",
    kind_missing: "此浏览器无法播放。", snapshot: "最新关键帧", renew: "刷新",
    lost: "连接已断开，稍后重试。", ended_stream: "直播已结束。下次推流时会自动播放。",
    elsewhere: "此流在另一台服务器上：", urls: "播放地址",
    obs: "OBS", obs_lead: "设置 → 直播：服务选择“自定义…”，然后", ffmpeg: "ffmpeg", players: "播放器",
    vhost: "虚拟主机", app: "应用", name: "名称", make: "地址：", phone: "手机扫码",
    latency: "延迟", buffer: "缓冲", frames: "帧", dropped_frames: "丢帧", rate: "码率",
  },
};

const KEPT = "srs.language";
let language = pick();

function pick() {
  const kept = read(KEPT);
  if (kept === "en" || kept === "zh") return kept;
  return (navigator.language || "en").toLowerCase().startsWith("zh") ? "zh" : "en";
}

// Storage may be forbidden; then nothing is kept.
function read(name) {
  try { return localStorage.getItem(name); } catch { return null; }
}

function write(name, value) {
  try { localStorage.setItem(name, value); } catch { /* not kept */ }
}

export function say(key, values = {}) {
  const text = WORDS[language][key] ?? WORDS.en[key] ?? key;
  return text.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? String(values[name]) : whole));
}

function translate() {
  document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
  for (const element of document.querySelectorAll("[data-say]")) element.textContent = say(element.dataset.say);
  for (const element of document.querySelectorAll("[data-say-label]")) {
    element.setAttribute("aria-label", say(element.dataset.sayLabel));
    element.title = say(element.dataset.sayLabel);
  }
}

function setTheme(theme) {
  if (theme) document.documentElement.dataset.theme = theme;
}

// Every page begins with this: language, theme, and the two buttons that change them.
export function begin(changed = () => {}) {
  setTheme(read("srs.theme"));
  translate();
  document.querySelector("#language")?.addEventListener("click", () => {
    language = language === "en" ? "zh" : "en";
    write(KEPT, language);
    translate();
    changed();
  });
  document.querySelector("#theme")?.addEventListener("click", () => {
    const dark = getComputedStyle(document.documentElement).colorScheme === "dark";
    const theme = dark ? "light" : "dark";
    write("srs.theme", theme);
    setTheme(theme);
  });
}
