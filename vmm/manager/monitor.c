// SPDX-License-Identifier: BSD-2-Clause
// The monitor: commands typed at console line 0 (Ctrl-] m). A line editor that knows backspace,
// Ctrl-U and Enter, and a table of commands. The manager's thread only.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "libc/kcall.h"
#include "libc/time.h"
#include "vmm/manager/manager.h"

_Static_assert(CONFIG_MAX_CORES * sizeof(uint64_t) == sizeof((struct system_info){0}.idle_tsc),
               "the cores that a config can name are those that the kernel uses");

static void command_vm_list(struct manager *manager, const char *argument)
{
    (void)argument;
    list_vms(manager);
}

static void command_vm_start(struct manager *manager, const char *argument)
{
    const struct manager_vm *vm = list_find(manager, argument);
    if (vm != NULL && vm->spawned.process != 0) {
        report(manager, "VM '%s' runs\n", argument);
    } else if (vm != NULL) {
        vms_start(manager, (uint32_t)(vm - manager->vm));
    }
}

static void command_vm_restart(struct manager *manager, const char *argument)
{
    const struct manager_vm *vm = list_find(manager, argument);
    if (vm != NULL) {
        vms_restart(manager, (uint32_t)(vm - manager->vm));
    }
}

// For a VM that runs.
static void on_running(struct manager *manager, const char *name,
                       void (*act)(struct manager *manager, uint32_t index))
{
    int index = list_find_running(manager, name);
    if (index >= 0) {
        act(manager, (uint32_t)index);
    }
}

static void command_vm_stop(struct manager *manager, const char *argument)
{
    on_running(manager, argument, vms_stop);
}

static void command_vm_kill(struct manager *manager, const char *argument)
{
    on_running(manager, argument, vms_kill);
}

static void command_vm_pause(struct manager *manager, const char *argument)
{
    on_running(manager, argument, vms_pause);
}

static void command_vm_resume(struct manager *manager, const char *argument)
{
    on_running(manager, argument, vms_resume);
}

static void command_vm_nmi(struct manager *manager, const char *argument)
{
    on_running(manager, argument, vms_nmi);
}

// NAME, or NAME VCPU.
static void command_vm_dump(struct manager *manager, const char *argument)
{
    char name[sizeof(manager->monitor.text)], *end = NULL;
    const char *number = strchr(argument, ' ');
    unsigned long vcpu = 0;
    snprintf(name, sizeof(name), "%.*s", (int)strcspn(argument, " "), argument);
    int index = list_find_running(manager, name);
    if (index < 0) {
        return;
    }
    if (number != NULL) {
        number++;
        vcpu = strtoul(number, &end, 10);
    }
    uint32_t vcpus = manager->vm[index].config->vcpus;
    if (number != NULL && (*number < '0' || *number > '9' || *end != '\0' || vcpu >= vcpus)) {
        report(manager, "VM '%s' has no vCPU '%s': it has %u, from 0 on\n", name, number,
               (unsigned)vcpus);
        return;
    }
    vms_dump(manager, (uint32_t)index, (uint32_t)vcpu);
}

// "1", "0,2,3": none twice. False: it is something else.
static bool read_cores(const char *text, struct move_cores *cores)
{
    uint64_t seen = 0;
    for (;;) {
        char *end;
        unsigned long core = strtoul(text, &end, 10);
        // Without a sign, which strtoul() would take.
        if (text[0] < '0' || text[0] > '9' || core >= CONFIG_MAX_CORES ||
            (seen >> core & 1) != 0 || cores->count == MOVE_CORES_MAX) {
            return false;
        }
        seen |= 1ull << core;
        cores->core[cores->count++] = (uint8_t)core;
        if (*end == '\0') {
            return true;
        }
        if (*end != ',') {
            return false;
        }
        text = end + 1;
    }
}

static void command_vm_move(struct manager *manager, const char *argument)
{
    char name[sizeof(manager->monitor.text)]; // all that was typed: cut, it might be another's
    const char *numbers = strchr(argument, ' ');
    struct move_cores cores = {0};
    if (numbers == NULL || !read_cores(numbers + 1, &cores)) {
        report(manager, "usage: vm move NAME CORE[,CORE...]\n");
        return;
    }
    snprintf(name, sizeof(name), "%.*s", (int)(numbers - argument), argument);
    int index = list_find_running(manager, name);
    if (index >= 0) {
        vms_move(manager, (uint32_t)index, &cores);
    }
}

static void command_vm_balance(struct manager *manager, const char *argument)
{
    (void)argument;
    if (vms_balance(manager) == 0) {
        report(manager, "every VM is where it belongs\n");
    }
}

static void command_stats(struct manager *manager, const char *argument)
{
    if (argument[0] != '\0') {
        const struct manager_vm *vm = list_find(manager, argument);
        if (vm != NULL) {
            list_stats(manager, vm);
        }
        return;
    }
    for (uint32_t i = 0; i < manager->vms; i++) {
        list_stats(manager, &manager->vm[i]);
    }
    list_cores(manager);
}

static void command_audit(struct manager *manager, const char *argument)
{
    (void)argument;
    report_audit(manager);
}

static void command_log(struct manager *manager, const char *argument)
{
    (void)argument;
    report_kernel_log(manager, true);
}

static void command_memory(struct manager *manager, const char *argument)
{
    struct system_info info;
    struct process_status self;
    (void)argument;
    report_free_memory(manager, "");
    if (kcall_system_info(BOOT_HANDLE_SYSTEM, &info) == OK) {
        report(manager, "%llu KB of %llu KB free, %llu kernel objects, %u cores\n",
               (unsigned long long)(info.frames_free * PAGE_SIZE >> 10),
               (unsigned long long)(info.frames_total * PAGE_SIZE >> 10),
               (unsigned long long)info.objects, (unsigned)info.cores);
        report(manager, "for VMs %llu KB (check --memory %llu --cores %u), of which the config "
               "gives them %llu KB\n", (unsigned long long)manager->vm_memory >> 10,
               (unsigned long long)(manager->boot->ram + (1 << 20) - 1) >> 20,
               (unsigned)manager->boot->cores,
               (unsigned long long)manager->config.memory_taken >> 10);
        report(manager, "zeroing memory has taken %llu ticks\n",
               (unsigned long long)info.zeroing_tsc);
    }
    list_cores(manager);
    if (kcall_process_status(HANDLE_SELF, &self) == OK) {
        report(manager, "manager: %u KB used, quota %u KB\n", (unsigned)(self.used >> 10),
               (unsigned)(self.quota >> 10));
    }
    if (kcall_process_status(manager->console.process, &self) == OK) {
        report(manager, "console: %u KB used, quota %u KB\n", (unsigned)(self.used >> 10),
               (unsigned)(self.quota >> 10));
    }
}

static void command_console_restart(struct manager *manager, const char *argument)
{
    (void)argument;
    console_restart(manager);
}

static void command_power_off(struct manager *manager, const char *argument)
{
    (void)argument;
    report(manager, "the machine is powered off by the monitor\n");
    report_flush(manager);
    kcall_system_off(BOOT_HANDLE_SYSTEM, vms_failed(manager));
}

static void command_reset(struct manager *manager, const char *argument)
{
    (void)argument;
    report(manager, "the machine is reset by the monitor\n");
    report_flush(manager);
    kcall_system_off(BOOT_HANDLE_SYSTEM, SYSTEM_RESET);
}

static void command_help(struct manager *manager, const char *argument);

static const struct {
    const char *name, *parameter, *help;
    void (*run)(struct manager *manager, const char *argument);
} commands[] = {
    {"help", "", "this list", command_help},
    {"vm list", "", "all VMs: state, core, share, memory, uptime, CPU", command_vm_list},
    {"vm start", " NAME", "starts a VM that does not run", command_vm_start},
    {"vm restart", " NAME", "ends the VM at once, if it runs, and starts it", command_vm_restart},
    {"vm stop", " NAME", "asks the VM to power itself off (ACPI power button)", command_vm_stop},
    {"vm kill", " NAME", "ends the VM at once and frees its memory", command_vm_kill},
    {"vm pause", " NAME", "has its vCPUs stand still", command_vm_pause},
    {"vm resume", " NAME", "lets a VM that is paused go on", command_vm_resume},
    {"vm nmi", " NAME", "sends each of its vCPUs an NMI", command_vm_nmi},
    {"vm dump", " NAME [VCPU]", "shows its registers and last exits, on its console",
     command_vm_dump},
    {"vm move", " NAME CORE[,...]", "takes the VM to other cores; it runs on", command_vm_move},
    {"vm balance", "", "places the VMs anew over the cores", command_vm_balance},
    {"stats", " [NAME]", "exits by kind, injections, time run and halted; cores", command_stats},
    {"sample", " NAME MS COUNT", "what it runs in each MS ms, COUNT times over", sample_start},
    {"console restart", "", "ends the console's process and starts it anew; VMs run on",
     command_console_restart},
    {"audit", "", "checks that no frame is reachable from two VMs", command_audit},
    {"memory", "", "free memory, kernel objects, idle time", command_memory},
    {"log", "", "the kernel's log", command_log},
    {"power-off", "", "powers the machine off at once", command_power_off},
    {"reset", "", "resets the machine at once", command_reset},
};
#define COMMANDS (sizeof(commands) / sizeof(commands[0]))

static void command_help(struct manager *manager, const char *argument)
{
    (void)argument;
    for (size_t i = 0; i < COMMANDS; i++) {
        char left[24];
        snprintf(left, sizeof(left), "%s%s", commands[i].name, commands[i].parameter);
        report(manager, "%-21s %s\n", left, commands[i].help);
    }
    report(manager, "%-21s %s\n", "Ctrl-] a", "back to all VMs; Ctrl-] ? explains the keys");
}

// Words separated by single spaces, none at the ends.
static void squeeze(char *text)
{
    char *out = text;
    for (const char *in = text; *in != '\0'; in++) {
        if (*in != ' ' || (out != text && out[-1] != ' ')) {
            *out++ = *in;
        }
    }
    out -= out != text && out[-1] == ' ';
    *out = '\0';
}

static unsigned count_words(const char *text)
{
    unsigned words = 0;
    for (; *text != '\0'; text++) {
        words += *text != ' ' && (text[1] == ' ' || text[1] == '\0');
    }
    return words;
}

// What stands behind the first `words` words.
static const char *skip_words(const char *text, unsigned words)
{
    while (words-- > 0) {
        text = strchr(text, ' ') + 1;
    }
    return text;
}

// A command with more words than it has parameters is a mistake, and does nothing.
static void run_command(struct manager *manager, size_t index, const char *argument)
{
    const char *name = commands[index].name, *parameter = commands[index].parameter;
    unsigned most = count_words(parameter), given = count_words(argument);
    if (given <= most) {
        commands[index].run(manager, argument);
    } else if (most == 0) {
        report(manager, "'%s' takes no argument\n", name);
    } else if (given - most == 1) {
        report(manager, "'%s' is one word too many: %s%s\n", skip_words(argument, most), name,
               parameter);
    } else {
        report(manager, "'%s' is %u words too many: %s%s\n", skip_words(argument, most),
               given - most, name, parameter);
    }
}

static void monitor_command(struct manager *manager, char *text)
{
    squeeze(text);
    if (text[0] == '\0') {
        return;
    }
    for (size_t i = 0; i < COMMANDS; i++) {
        size_t len = strlen(commands[i].name);
        if (strncmp(text, commands[i].name, len) == 0 && (text[len] == '\0' || text[len] == ' ')) {
            run_command(manager, i, text[len] == ' ' ? text + len + 1 : "");
            return;
        }
    }
    report(manager, "unknown command '%s': help lists them\n", text);
}

// Whether the key belongs to an escape sequence: ESC, [ or O, numbers, and what ends it.
static bool monitor_escape(struct manager_monitor *monitor, char key)
{
    if (key == 0x1b) {
        monitor->escape = 1;
        return true;
    }
    if (monitor->escape == 1 && (key == '[' || key == 'O')) {
        monitor->escape = 2;
        return true;
    }
    if (monitor->escape == 2 && key >= ' ' && key < 0x7f) {
        monitor->escape = key < '@' ? 2 : 0;
        return true;
    }
    monitor->escape = 0;
    return false;
}

static void monitor_enter(struct manager *manager)
{
    struct manager_monitor *monitor = &manager->monitor;
    bool overlong = monitor->overlong;
    report_text(manager, "\n", 1);
    monitor->text[monitor->len] = '\0';
    monitor->len = 0;
    monitor->overlong = false;
    monitor->prompted = false;
    if (overlong) {
        report(manager, "a command of more than %u characters is not taken\n",
               (unsigned)sizeof(monitor->text) - 1);
    } else {
        monitor_command(manager, monitor->text);
    }
    monitor->prompted = true;
    report_prompt_show(manager);
}

static void monitor_key(struct manager *manager, char key)
{
    struct manager_monitor *monitor = &manager->monitor;
    if (monitor_escape(monitor, key)) {
        return;
    }
    if (!monitor->prompted || key == CONSOLE_REDRAW) {
        report_prompt_hide(manager);
        monitor->prompted = true;
        report_prompt_show(manager);
    }
    if (key == '\r' || key == '\n') {
        monitor_enter(manager);
    } else if (key == '\b' || key == 0x7f) {
        if (monitor->len > 0) {
            monitor->len--;
            report_text(manager, "\b \b", 3);
        }
    } else if (key == 'U' - '@' || key == 'C' - '@') {
        report_prompt_hide(manager);
        monitor->len = 0;
        monitor->overlong = false;
        report_prompt_show(manager);
    } else if (key >= ' ' && key < 0x7f && monitor->len == sizeof(monitor->text) - 1) {
        monitor->overlong = true;
        report_text(manager, "\a", 1);
    } else if (key >= ' ' && key < 0x7f) {
        monitor->text[monitor->len++] = key;
        report_text(manager, &key, 1);
    }
}

void monitor_input(struct manager *manager)
{
    char keys[64];
    uint32_t got;
    do {
        got = line_read(&manager->line, keys, sizeof(keys));
        for (uint32_t i = 0; i < got; i++) {
            monitor_key(manager, keys[i]);
        }
    } while (got == sizeof(keys));
}
