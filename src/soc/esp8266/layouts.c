/* The vendor's structures as sdk.rs takes them for: compiled with the headers of the libraries that are linked. */
#include <stddef.h>
/* It includes string.h, which the cross compiler comes without. */
#define _OSAPI_H_
#include "c_types.h"
#include "os_type.h"
/* Its addresses as the libraries were compiled with, and not twice. */
#define LWIP_OPEN_SRC
#include "user_interface.h"
#include "lwip/netif.h"
#include "lwip/pbuf.h"

#define AT(structure, field, offset) \
    _Static_assert(offsetof(structure, field) == (offset), #structure "." #field " is not at " #offset)
#define SIZE(structure, size) \
    _Static_assert(sizeof(structure) == (size), #structure " has not " #size " bytes")
#define IS(name, value) \
    _Static_assert((name) == (value), #name " is not " #value)

AT(ETSEvent, sig, 0);
AT(ETSEvent, par, 4);
SIZE(ETSTimer, 20);
AT(ETSTimer, timer_func, 12);

SIZE(partition_item_t, 12);
AT(partition_item_t, addr, 4);
AT(partition_item_t, size, 8);
IS(SYSTEM_PARTITION_RF_CAL, 4);
IS(SYSTEM_PARTITION_PHY_DATA, 5);
IS(SYSTEM_PARTITION_SYSTEM_PARAMETER, 6);
IS(SYSTEM_PARTITION_CUSTOMER_BEGIN, 100);
IS(FLASH_SIZE_8M_MAP_512_512, 2);
IS(FLASH_SIZE_32M_MAP_512_512, 4);

SIZE(struct rst_info, 28);
AT(struct rst_info, exccause, 4);
AT(struct rst_info, epc1, 8);
AT(struct rst_info, excvaddr, 20);

AT(struct netif, ip_addr, 4);
AT(struct netif, netmask, 8);
AT(struct netif, gw, 12);
AT(struct netif, input, 16);
AT(struct netif, output, 20);
AT(struct netif, linkoutput, 24);
AT(struct netif, state, 28);
AT(struct netif, mtu, 48);
AT(struct netif, hwaddr, 51);
AT(struct netif, flags, 57);
AT(struct netif, num, 60);
IS(NETIF_FLAG_UP, 1);

SIZE(struct pbuf, 20);
AT(struct pbuf, payload, 4);
AT(struct pbuf, tot_len, 8);
AT(struct pbuf, len, 10);
AT(struct pbuf, type, 12);
AT(struct pbuf, flags, 13);
AT(struct pbuf, ref, 14);
AT(struct pbuf, eb, 16);
IS(PBUF_RAM, 0);
IS(PBUF_ROM, 1);
IS(PBUF_REF, 2);
IS(PBUF_LINK, 2);
IS(PBUF_RAW, 3);

AT(struct bss_info, bssid, 4);
AT(struct bss_info, ssid, 10);
AT(struct bss_info, ssid_len, 42);
AT(struct bss_info, channel, 43);
AT(struct bss_info, rssi, 44);
AT(struct bss_info, authmode, 48);
IS(AUTH_OPEN, 0);

SIZE(struct station_config, 116);
AT(struct station_config, password, 32);
AT(struct station_config, channel, 96);
AT(struct station_config, bssid_set, 97);
AT(struct station_config, bssid, 98);
AT(struct station_config, threshold, 104);
AT(struct station_config, threshold.authmode, 108);
AT(struct station_config, open_and_wep_mode_disable, 112);
AT(struct station_config, all_channel_scan, 113);

SIZE(struct softap_config, 108);
AT(struct softap_config, ssid_len, 96);
AT(struct softap_config, channel, 97);
AT(struct softap_config, authmode, 100);
AT(struct softap_config, ssid_hidden, 104);
AT(struct softap_config, max_connection, 105);
AT(struct softap_config, beacon_interval, 106);

SIZE(struct scan_config, 24);
AT(struct scan_config, channel, 8);
AT(struct scan_config, scan_type, 12);
AT(struct scan_config, scan_time, 16);

AT(System_Event_t, event_info, 4);
AT(Event_StaMode_Disconnected_t, reason, 39);
IS(EVENT_STAMODE_CONNECTED, 0);
IS(EVENT_STAMODE_DISCONNECTED, 1);
IS(REASON_ASSOC_LEAVE, 8);
IS(REASON_4WAY_HANDSHAKE_TIMEOUT, 15);
IS(REASON_NO_AP_FOUND, 201);
IS(REASON_AUTH_FAIL, 202);
IS(REASON_HANDSHAKE_TIMEOUT, 204);
IS(STATION_WRONG_PASSWORD, 2);
IS(NULL_MODE, 0);
IS(STATION_MODE, 1);
IS(STATIONAP_MODE, 3);
IS(NONE_SLEEP_T, 0);
IS(MODEM_SLEEP_T, 2);
SIZE(enum sleep_type, 4);
IS(REASON_WDT_RST, 1);
IS(REASON_EXCEPTION_RST, 2);
IS(REASON_SOFT_WDT_RST, 3);
IS(REASON_SOFT_RESTART, 4);
IS(STATION_IF, 0);
IS(SOFTAP_IF, 1);
IS(SPI_FLASH_RESULT_OK, 0);
IS(SPI_FLASH_SEC_SIZE, 4096);
