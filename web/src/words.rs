//! What the dashboard says, in each of its languages.

use smol_str::SmolStr;

/// A language.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Language {
    /// English.
    #[default]
    English,
    /// Simplified Chinese.
    Chinese,
}

impl Language {
    /// As HTML names it.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::Chinese => "zh-CN",
        }
    }

    /// The one that fits what a browser prefers, or what was kept.
    #[must_use]
    pub fn of(code: &str) -> Self {
        if code.starts_with("zh") { Self::Chinese } else { Self::English }
    }

    /// The other one.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::English => Self::Chinese,
            Self::Chinese => Self::English,
        }
    }

    /// Its words.
    #[must_use]
    pub const fn words(self) -> &'static Words {
        match self {
            Self::English => &ENGLISH,
            Self::Chinese => &CHINESE,
        }
    }
}

/// Puts values into a sentence, in place of `{0}`, `{1}` and so on.
#[must_use]
pub fn fill(sentence: &str, values: &[&str]) -> SmolStr {
    let mut out = String::with_capacity(sentence.len() + 16);
    let mut rest = sentence;
    while let Some((before, after)) = rest.split_once('{') {
        let (at, after) = after.split_once('}').unwrap_or((after, ""));
        out.push_str(before);
        out.push_str(at.parse().ok().and_then(|at: usize| values.get(at)).copied().unwrap_or_default());
        rest = after;
    }
    out.push_str(rest);
    out.into()
}

macro_rules! words {
    ($($name:ident: $english:literal, $chinese:literal;)*) => {
        /// All that the dashboard says.
        #[derive(Debug)]
        #[expect(missing_docs, reason = "each is named after what it says")]
        pub struct Words { $(pub $name: &'static str,)* }
        static ENGLISH: Words = Words { $($name: $english,)* };
        static CHINESE: Words = Words { $($name: $chinese,)* };
        #[cfg(test)]
        static ALL: &[(&str, &str, &str)] = &[$((stringify!($name), $english, $chinese),)*];
    };
}

words! {
    // Places.
    overview: "Overview", "总览";
    services: "Services", "服务";
    instances: "Instances", "实例";
    service: "Service", "服务";
    time: "Time travel", "时光回溯";
    resolver: "Resolver", "解析器";
    doctor: "Doctor", "诊断";
    namespace: "Namespace", "命名空间";
    main_navigation: "Main", "主导航";
    skip: "Skip to the content", "跳到正文";

    // Status and health.
    up: "up", "正常";
    starting: "starting", "启动中";
    draining: "draining", "排空中";
    down: "down", "停用";
    dead: "nobody takes calls", "无人接收调用";
    hurt: "some are down", "部分停用";
    moving: "some come or go", "正在变动";
    well: "all take calls", "全部正常";

    // The connection.
    live: "Live", "实时";
    last_word: "last change {0} ago", "最近变更：{0}前";
    paused: "Paused", "已暂停";
    pause: "Pause", "暂停";
    resume_live: "Go on", "继续";
    paused_for: "What is shown is {0} old. Nothing is lost: one step brings everything since.", "当前显示的是 {0} 前的状态。没有丢失任何内容：继续后一次补齐。";
    stale: "Out of date", "已过期";
    unanswered: "No answer", "无应答";
    unanswered_for: "The registry has answered nothing for {0}. What is shown may be old.", "注册中心已 {0} 无应答。当前显示的内容可能已过时。";
    stale_for: "The registry has not been heard for {0}. This is what was known then.", "已有 {0} 未收到注册中心的消息。以下是当时所知的状态。";
    unconfirmed: "Not confirmed", "未确认";
    unconfirmed_says: "The registry has started anew and waits for its holders: what is not confirmed yet is shown as it was known before.", "注册中心刚刚重启，正在等待持有者：尚未确认的内容按此前所知显示。";
    loading: "Asking the registry …", "正在询问注册中心……";
    loading_says: "The first list comes as soon as it has spoken.", "一旦有回应，列表就会出现。";
    disconnected: "The registry cannot be reached", "无法连接注册中心";
    disconnected_says: "Nothing was heard of it yet. It is tried again by itself.", "尚未收到任何消息，系统会自动重试。";
    forbidden: "The registry does not let this page in", "注册中心拒绝了此页面";
    forbidden_says: "It says: {0}", "它的回答：{0}";
    empty: "Nothing is registered here", "这里还没有注册任何实例";
    empty_says: "The registry says so itself. Register something, and it appears at once:", "这是注册中心的明确答复。注册一个实例，它会立刻出现：";
    filtered: "Nothing matches", "没有匹配项";
    filtered_says: "{0} instances are there; none of them matches this search.", "共有 {0} 个实例，但没有一个符合此搜索。";
    clear_search: "Clear the search", "清除搜索";
    try_again: "Try now", "立即重试";
    why: "Why: {0}", "原因：{0}";

    // Overview.
    fire: "Is something on fire?", "是否出了问题？";
    calm: "All {0} services take calls.", "全部 {0} 个服务都在接收调用。";
    not_calm: "{0} of {1} services need a look.", "{1} 个服务中有 {0} 个需要关注。";
    worst_first: "Worst first", "最差优先";
    happened: "What changed", "最近变更";
    nothing_happened: "Nothing has happened since the registry began to remember.", "注册中心开始记录以来尚无变更。";
    last_hour: "The last hour, a bar a minute", "过去一小时，每分钟一柱";
    registrations: "Registrations", "注册";
    expiries: "Expiries", "过期";
    flaps: "Flaps", "抖动";
    total_of: "{0} in all", "共 {0} 次";
    peak_of: "at most {0} a minute", "每分钟最多 {0} 次";
    registry: "Registry", "注册中心";
    epoch: "Epoch", "纪元";
    revision: "Revision", "修订号";
    leases: "Leases", "租约";
    watches: "Watches", "订阅";
    memory: "Memory", "内存";
    memory_of: "{0} of {1}", "{0} / {1}";
    history_kept: "History", "历史";
    history_from: "from revision {0} on", "自修订号 {0} 起";
    uptime: "Up for", "已运行";
    version: "Version", "版本";
    connections: "Connections", "连接";
    warming: "Warming up, {0} more: what is not listed may be there all the same.", "预热中，还剩 {0}：未列出的实例也可能存在。";
    mirrors: "This server mirrors {0}. It is {1}.", "此服务器镜像 {0}，状态：{1}。";
    untold: "The store does not tell why instances come and go. What changed is on the page of each service.", "外部存储不会告知实例增减的原因。变更记录见各服务页面。";
    refuses: "Memory is nearly used up: {0} are refused.", "内存即将耗尽：{0} 已被拒绝。";
    alarm: "Mass expiry in {0}: {1} of {2} instances ended because nobody renewed them. Are they all gone, or can they not reach the registry?", "{0} 发生大规模过期：{2} 个实例中有 {1} 个因无人续约而终止。它们是真的消失了，还是无法连接注册中心？";
    no_alarm: "No mass expiry.", "没有大规模过期。";

    // Tables.
    name: "Name", "名称";
    id: "Id", "标识";
    state: "State", "状态";
    status: "Status", "状态";
    versions: "Versions", "版本";
    zones: "Zones", "可用区";
    zone: "Zone", "可用区";
    weight: "Weight", "权重";
    endpoints: "Endpoints", "端点";
    changed: "Changed", "变更于";
    watchers: "Watchers", "订阅者";
    lease: "Lease", "租约";
    expires: "Expires", "到期";
    renewed: "Renewed", "续约于";
    ago: "{0} ago", "{0}前";
    left: "{0} left", "剩余 {0}";
    none: "none", "无";
    matching: "{0} of {1}", "{0} / {1}";
    so_many: "Services: {0}. Instances: {1}.", "服务：{0}，实例：{1}。";
    select: "Select {0}", "选择 {0}";
    select_all: "Select all {0}", "全选 {0} 个";
    selected: "{0} selected", "已选 {0} 个";
    search: "Search", "搜索";
    search_hint: "name:user version:>=1.2 zone:a status:!up meta.owner=pay", "name:user version:>=1.2 zone:a status:!up meta.owner=pay";
    no_zone: "no zone", "无可用区";
    no_version: "no version", "无版本";
    gone: "It is not registered.", "未注册。";
    gone_says: "Its past is below, as far as it is remembered.", "下方是仍被记住的历史。";

    // Service and instance.
    matrix: "Versions by zone", "版本 × 可用区";
    who_watches: "Who watches it", "谁在订阅";
    nobody_watches: "Nobody watches it.", "没有人订阅。";
    told_all: "All {0} watchers that report have applied the latest change.", "所有 {0} 个会汇报的订阅者都已应用最新变更。";
    told_some: "{0} of {1} watchers that report have not applied the latest change.", "{1} 个会汇报的订阅者中，有 {0} 个尚未应用最新变更。";
    silent_some: "Not reporting: {0}.", "不汇报：{0} 个。";
    told: "has it", "已获知";
    not_told: "not yet told", "尚未获知";
    silent: "does not report", "不汇报";
    applied: "Applied", "已应用";
    lag: "Behind", "落后";
    behind: "{0} behind", "落后 {0}";
    client: "Client", "客户端";
    by: "by {0}", "操作者：{0}";
    timeline: "Timeline", "时间线";
    no_past: "Nothing is remembered of it.", "没有相关记录。";
    metadata: "Metadata", "元数据";
    no_metadata: "It has none.", "没有元数据。";
    own_words: "What it says of itself", "自身所声明的";
    raw: "JSON", "JSON";
    copy: "Copy", "复制";
    copied: "Copied", "已复制";
    not_copied: "The browser does not let this page copy.", "浏览器不允许此页面复制。";
    generation: "Generation", "代次";
    ttl: "ttl", "ttl";
    seen_from: "Seen from", "来源地址";
    address_differs: "It advertises an address that it does not call from. Right behind a proxy or NAT; otherwise nobody reaches it.", "它通告的地址与其来源地址不同。若在代理或 NAT 之后则正常，否则无人能访问它。";
    overlaid: "An operator has laid this over it", "运维覆盖";
    because: "because: {0}", "原因：{0}";
    absent: "–", "–";

    // What happens.
    did_registered: "registered", "注册";
    did_superseded: "superseded by another holder", "被其他持有者取代";
    did_updated: "updated", "更新";
    did_renewed_late: "renewed late", "续约迟到";
    did_deregistered: "deregistered", "注销";
    did_expired: "expired", "过期";
    did_evicted: "evicted", "被驱逐";
    did_overlaid: "overlaid", "被覆盖";
    did_overlay_cleared: "overlay cleared", "覆盖已清除";
    did_mirrored: "changed in the store", "存储中变更";
    did_stalled: "the registry stalled", "注册中心曾停顿";
    did_settled: "the registry has settled", "注册中心已稳定";
    did_alarm: "mass expiry", "大规模过期";
    did_alarm_ended: "mass expiry over", "大规模过期结束";

    // Time travel.
    time_says: "The fleet as it was, replayed from the registry's log.", "从注册中心日志重放的历史状态。";
    at_revision: "Revision {0}, {1}", "修订号 {0}，{1}";
    present: "the present", "当前";
    compare: "Compare with", "对比";
    differences: "From revision {0} to {1}: {2} instances differ", "从修订号 {0} 到 {1}：{2} 个实例不同";
    no_difference: "Nothing is different.", "没有差异。";
    came: "came", "出现";
    went: "went", "消失";
    differs: "differs", "不同";
    share: "Copy the link to this moment", "复制此刻的链接";
    earlier: "Earlier", "更早";
    later: "Later", "更晚";
    loading_past: "Fetching the past: {0} changes …", "正在读取历史：{0} 条变更……";
    no_history: "There is no history yet: nothing has changed since the registry began.", "还没有历史：注册中心启动以来没有变更。";
    forgotten: "That moment is forgotten; the oldest that is remembered is shown.", "该时刻已被遗忘；显示的是仍记住的最早时刻。";

    // Actions.
    actions: "Actions", "操作";
    drain: "Drain", "排空";
    resume: "Resume", "恢复";
    set_weight: "Set weight", "设置权重";
    edit_metadata: "Edit metadata", "编辑元数据";
    evict: "Evict", "驱逐";
    drain_says: "It stays listed, and gets no new calls, until it is resumed; also when it registers again.", "它仍在列表中，但不再接收新调用，直到恢复；重新注册也不改变。";
    resume_says: "It has the status again that it gives itself.", "恢复为它自己声明的状态。";
    set_weight_says: "Its share of the calls, beside the others’ weights; 0 for none. Lies over what it says itself until it is cleared.", "它在调用中的份额；0 表示不接收。覆盖其自身声明，直到清除。";
    edit_metadata_says: "One key=value a line; key= alone hides the key. Lies over what it says itself.", "每行一个 key=value；只写 key= 则隐藏该键。覆盖其自身声明。";
    evict_says: "Its lease ends at once. A holder that still works registers again, unless the id is kept out for a time.", "租约立即终止。仍在运行的持有者会重新注册，除非在一段时间内阻止该标识。";
    block_for: "Keep the id out for (30s, 5m; empty: not at all)", "阻止该标识（30s、5m；留空则不阻止）";
    reason: "Reason", "原因";
    reason_hint: "for those who will wonder", "给之后会疑惑的人";
    would: "Dry run: {0} of {1} would change", "试运行：{1} 个中有 {0} 个会变更";
    would_list: "What would change", "将会变更的内容";
    would_nothing: "would look the same", "看起来不变";
    none_left: "After this nobody of {0} takes calls.", "此后 {0} 将无人接收调用。";
    run_one: "Do it", "执行";
    run_many: "Do it to {0}", "对 {0} 个执行";
    cancel: "Cancel", "取消";
    close: "Close", "关闭";
    running: "{0} of {1} done", "已完成 {0} / {1}";
    ran: "Done: {0}", "已完成：{0}";
    failed: "{0} failed: {1}", "{0} 个失败：{1}";
    undo: "Undo", "撤销";
    undone: "Undone: {0}", "已撤销：{0}";
    needs_reason: "Say why: others will wonder.", "请说明原因：其他人会想知道。";
    bad_weight: "A weight is a whole number from 0 to 4294967295.", "权重是 0 到 4294967295 的整数。";
    bad_metadata: "Line {0} is not key=value.", "第 {0} 行不是 key=value。";
    bad_span: "Write a time with its unit, such as 30s or 5m.", "时间要带单位，例如 30s 或 5m。";
    not_here: "This server mirrors a store: overlays and evictions have no place in it.", "此服务器镜像外部存储：不支持覆盖与驱逐。";

    // Resolver.
    resolver_says: "What a client would get, worked out by the code that clients run.", "客户端会得到什么，由客户端所用的同一份代码计算。";
    choose_service: "Service", "服务";
    own_zone: "Its zone", "所在可用区";
    filter: "Filter", "过滤";
    subset_size: "Subset size", "子集大小";
    subset_key: "Its key (the client’s id)", "子集键（客户端标识）";
    policy: "Policy", "策略";
    share_of_calls: "Share of calls", "调用份额";
    gets: "It gets {0} of {1} instances", "它得到 {1} 个实例中的 {0} 个";
    left_out: "Left out", "未选中";
    because_status: "it is {0}", "状态为{0}";
    because_weight: "its weight is 0", "权重为 0";
    because_filter: "the filter does not let it pass", "被过滤条件排除";
    because_zone: "instances of the client’s own zone are there", "本可用区已有实例";
    because_subset: "the subset has others", "不在子集中";

    // Doctor.
    doctor_says: "What looks wrong, and what to do about it.", "看起来有问题的地方，以及应对办法。";
    healthy: "Nothing looks wrong.", "没有发现问题。";
    serious: "serious", "严重";
    worth_a_look: "worth a look", "值得关注";
    sick_same_address: "{0} is advertised by {1} instances: calls meant for one reach another", "{0} 被 {1} 个实例通告：发给其中一个的调用会到达另一个";
    sick_loopback: "{1} of {0} advertises {2}: others reach themselves there", "{0} 的 {1} 通告 {2}：其他机器会访问到自己";
    sick_weights: "All {1} instances of {0} that are up have weight 0: nobody is called", "{0} 的 {1} 个正常实例权重全为 0：无人被调用";
    sick_single: "{0} has one instance: when it goes, the service goes", "{0} 只有一个实例：它一旦消失，服务就消失";
    sick_no_endpoint: "{1} of {0} has no endpoint: nobody can call it", "{0} 的 {1} 没有端点：无人能调用它";
    sick_flapping: "{1} of {0} went and came back {2} times lately", "{0} 的 {1} 最近消失并返回 {2} 次";
    sick_late: "{1} of {0} renewed late {2} times: its ttl is hardly longer than its heartbeat", "{0} 的 {1} 续约迟到 {2} 次：ttl 几乎不比心跳长";
    sick_short: "{1} of {0} expires and registers again: its ttl is shorter than its heartbeat", "{0} 的 {1} 反复过期又注册：ttl 比心跳短";
    sick_unwatched: "Nobody has watched {0} since the registry began", "注册中心启动以来没有人订阅过 {0}";
    sick_dead: "Nobody of {0} takes calls", "{0} 无人接收调用";
    cure_same_address: "Give each its own address or port, or let the one that is gone deregister.", "为每个实例分配独立的地址或端口，或注销已消失的那个。";
    cure_loopback: "Let it advertise the address by which others reach its machine.", "让它通告其他机器可访问的地址。";
    cure_weights: "Set a weight above 0 for those that are to be called.", "为应被调用的实例设置大于 0 的权重。";
    cure_single: "Run a second one, in another zone.", "在另一个可用区再运行一个。";
    cure_no_endpoint: "Let it register with its address.", "让它带上地址注册。";
    cure_flapping: "Look at its log around these times; give it a longer ttl if the network loses renewals.", "查看这些时刻前后的日志；若网络丢失续约，请延长 ttl。";
    cure_late: "Renew three times in a ttl, or make the ttl longer.", "在一个 ttl 内续约三次，或延长 ttl。";
    cure_unwatched: "Is it called by other means, or not needed any more?", "它是通过其他方式被调用，还是已不再需要？";
    cure_dead: "See what is draining or down, and since when.", "查看哪些在排空或停用，以及从何时开始。";

    // The page.
    theme_system: "Theme: as the system", "主题：跟随系统";
    theme_light: "Theme: light", "主题：浅色";
    theme_dark: "Theme: dark", "主题：深色";
    other_language: "中文", "English";
    keys: "Keys", "快捷键";
    key_search: "search", "搜索";
    key_rows: "next and previous row", "下一行、上一行";
    key_open: "open the row", "打开此行";
    key_select: "select the row", "选择此行";
    key_go: "go to overview, services, instances, time, resolver, doctor", "前往总览、服务、实例、时光、解析、诊断";
    key_pause: "pause or go on", "暂停或继续";
    key_back: "back", "返回";
    key_help: "these keys", "显示快捷键";
    key_actions: "act on what is selected", "对所选执行操作";

    // Units of time.
    seconds: "{0}s", "{0}秒";
    minutes: "{0}m", "{0}分";
    hours: "{0}h", "{0}时";
    days: "{0}d", "{0}天";
    at_once: "0s", "0秒";
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holes(sentence: &str) -> Vec<&str> {
        let mut holes: Vec<&str> = sentence.split('{').skip(1).filter_map(|rest| rest.split('}').next()).collect();
        holes.sort_unstable();
        holes
    }

    #[test]
    fn both_languages_say_everything_with_the_same_values() {
        for (name, english, chinese) in ALL {
            assert!(!english.is_empty() && !chinese.is_empty(), "{name}");
            assert_eq!(holes(english), holes(chinese), "{name}");
        }
    }

    #[test]
    fn values_are_put_in_where_the_sentence_wants_them() {
        assert_eq!(fill("{1} of {0}", &["all", "some"]), "some of all");
        // A value is put in as it is: what looks like a hole in it is none.
        assert_eq!(fill("{0}!", &["{0}{1}"]), "{0}{1}!");
        assert_eq!(fill("no {7} such", &[]), "no  such");
    }
}
